"""Which subjects are held out: a function of the subject's id, the same for models and tools."""

from __future__ import annotations

import hashlib


def held_out(participant_id: str, share: float) -> bool:
    """Whether a subject is held out, by its id alone, so that it never changes sides.

    Subjects held out at a share are held out at every larger one.
    """
    number = int.from_bytes(hashlib.sha256(participant_id.encode()).digest()[:8], "big")
    return number < share * 2**64
