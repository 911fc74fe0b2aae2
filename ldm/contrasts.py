"""The contrasts of anatomical images, by their BIDS suffix, and which of them a sample is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ldm.errors import LdmError

T1W = "T1w"
SUFFIXES = (T1W, "T2w", "PDw", "FLAIR", "T2starw")
# The covariate that tells the contrast of a sample, where there are several.
MODALITY = "modality"


def checked(suffixes: Sequence[str]) -> tuple[str, ...]:
    """The suffixes, each known and there once.

    Raises:
        LdmError: none, an unknown one, or one twice.
    """
    if not suffixes:
        raise LdmError(f"no suffix; expected some of {', '.join(SUFFIXES)}")
    for suffix in suffixes:
        if suffix not in SUFFIXES:
            alike = [known for known in SUFFIXES if known.casefold() == str(suffix).casefold()]
            meant = f"did you mean {alike[0]}? " if alike else ""
            raise LdmError(f"{suffix!r}: {meant}expected some of {', '.join(SUFFIXES)}")
        if list(suffixes).count(suffix) > 1:
            raise LdmError(f"{suffix} is given twice; give it once")
    return tuple(suffixes)


def suffix_of(row: Mapping[Any, Any], suffixes: Sequence[str]) -> str:
    """The contrast of a sample with these covariates, of a cohort or model of these contrasts."""
    return str(row[MODALITY]) if len(suffixes) > 1 else suffixes[0]


def to_json(suffixes: Sequence[str]) -> dict[str, Any]:
    """What a document says of contrasts: nothing where they are T1w alone, as ever."""
    return {} if tuple(suffixes) == (T1W,) else {"suffixes": list(suffixes)}


def from_json(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The inverse of `to_json`. Raises LdmError as `checked`, TypeError where it is no list."""
    return checked(list(document.get("suffixes", [T1W])))


def without_suffix(sample_id: str) -> str:
    """`sub-01_ses-02` of `sub-01_ses-02_T2w`; a name without a contrast as it is."""
    name, _, last = sample_id.rpartition("_")
    return name if name and last in SUFFIXES else sample_id
