"""streamlib."""
