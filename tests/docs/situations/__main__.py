"""Writes docs/situations.md: `python -m tests.docs.situations`; with words, only what has them.

`python -m tests.docs.situations slope NaN` prints the lines of some situations instead.
"""

from __future__ import annotations

import sys

from tests.docs.situations import page
from tests.docs.situations.groups import GROUPS
from tests.docs.situations.running import said_of

chosen = sys.argv[1:]
for group in GROUPS if chosen else ():
    for situation in group.situations:
        if any(word in situation.what for word in chosen):
            print(page.line(situation, said_of(situation)), flush=True)
if not chosen:
    page.PAGE.write_text(page.written(GROUPS, said_of))
