"""What must never be shown: the values of secrets that this process has read.

Whatever prints text of ours passes it through `redacted`. It is a net below the rule that values
don't get into text in the first place: a user's exception or a server's answer may quote one.
"""

from __future__ import annotations

import json
import re
from urllib.parse import quote, quote_plus

HIDDEN = "***"
MOST = 1_000  # values remembered; a secret that rotates hourly takes six weeks to fill it
SHORTEST_LINE = 8  # characters from which a line of a longer secret (a key file) is hidden by itself

_known: dict[str, re.Pattern[str]] = {}


def remember(value: str) -> None:
    """Hide `value` from now on, also as it looks quoted, in JSON, in a URL, or line by line."""
    if not value or value in _known:
        return
    lines = {line.strip() for line in value.splitlines() if len(line.strip()) >= SHORTEST_LINE}
    forms = {
        form
        for text in {value, *lines}
        for form in (text, repr(text)[1:-1], json.dumps(text)[1:-1], quote(text, safe=""), quote_plus(text))
    }
    _known[value] = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
    while len(_known) > MOST:
        del _known[next(iter(_known))]


def redacted(text: str) -> str:
    """`text` with `***` in the place of every known secret value.

    >>> remember("hunter2")
    >>> redacted("can't log in as app:hunter2@db")
    "can't log in as app:***@db"
    """
    for pattern in sorted(_known.values(), key=lambda known: -len(known.pattern)):
        text = pattern.sub(HIDDEN, text)
    return text
