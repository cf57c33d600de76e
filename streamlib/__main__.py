"""`python -m streamlib`: the command line."""

from streamlib.cli.main import main

main()
