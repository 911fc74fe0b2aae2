"""Which subjects are held out: a function of the person alone, the same for models and tools."""

from __future__ import annotations

import hashlib

from ldm.contrasts import without_suffix

SESSION = "_ses-"


def person_of(sample_id: str) -> str:
    """Whose image a sample is: `sub-01` of `sub-01_ses-02_T2w`, and of `sub-01` itself."""
    return without_suffix(sample_id).partition(SESSION)[0] or sample_id


def held_out(sample_id: str, share: float) -> bool:
    """Whether a subject is held out, by its id alone, so that it never changes sides.

    All sessions and contrasts of a person are on one side. Subjects held out at a share are held
    out at every larger one.
    """
    number = int.from_bytes(hashlib.sha256(person_of(sample_id).encode()).digest()[:8], "big")
    return number < share * 2**64
