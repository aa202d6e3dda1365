"""Foreign text on its way to a terminal."""

from __future__ import annotations

import re

# C0 and C1, which begin what terminals obey; halves of characters, which no terminal takes; what turns the direction
# of all that follows.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Returns the text with a space for each line break and tab, and � for whatever else a terminal would obey."""
    return _OBEYED.sub(lambda found: " " if found[0] in "\t\n\r" else "\ufffd", text)
