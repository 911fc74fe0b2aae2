"""What is doubtful about a sample: short codes in the table, a sentence each for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ldm.volumes import conversion, orientation

CASE = "folder-in-another-case"
SPELLING = "folder-in-another-spelling"
ENHANCED = "contrast-enhanced"
PIECE = "part-of-an-image"
OTHER_SESSION = "covariates-of-no-session"
PASSED_OVER = "another-image-unusable"
STRIPPED_TO_MEASURE = "stripped-to-be-measured"

# Every code that a row of `subjects.parquet` may have under `notes`.
SENTENCES: dict[str, str] = {
    orientation.GUESS: "left and right are a guess: neither qform nor sform says where they are",
    orientation.MIRRORED: "sform and qform disagree on left and right; the sform is used",
    orientation.DIFFER: "sform and qform place the image more than 1 mm apart; the sform is used",
    orientation.UNUSABLE: "the sform is zero or no affine; the qform is used",
    orientation.SIZES: "the affine and pixdim give voxels of different sizes; the affine is used",
    orientation.SHEARED: "the affine is sheared: its axes are not at right angles, and "
    "--placement centre leaves the head as it is stored",
    orientation.PARTIAL: "the image covers less than 80 mm along an axis: a part of a head",
    orientation.THICK: "slices are thick: a voxel is over 2.5 mm, and over 2.5 times as long as "
    "wide",
    conversion.NOT_NUMBERS: "voxels of the background are not numbers (NaN); read as background",
    CASE: "the folder is found under a name in other upper and lower case than participants.tsv",
    SPELLING: "the folder is found under a name that differs from participants.tsv in zeros or "
    "punctuation alone, as no other does",
    ENHANCED: "the image is contrast-enhanced by its name; there was no plain one to use",
    PIECE: "the image is one echo, inversion, chunk or phase by its name; there was no combined "
    "one to use",
    OTHER_SESSION: "covariates are not told of the image's own session: they are those of "
    "participants.tsv, perhaps of another day",
    STRIPPED_TO_MEASURE: "a whole head: its volumes are of the brain that deepbet cuts out of it; "
    "the image itself is left whole",
    PASSED_OVER: "an image of the participant cannot be used, and another one was",
}
_MOST_NAMES = 5


def counts(notes: Iterable[Iterable[str]]) -> dict[str, int]:
    """How many samples have each code, in the order of `SENTENCES`."""
    found = [set(codes) for codes in notes]
    many = {code: sum(code in codes for codes in found) for code in SENTENCES}
    return {code: count for code, count in many.items() if count}


def lines(notes: Mapping[str, Iterable[str]]) -> list[str]:
    """One line a code: how many samples have it and who, by the codes of each sample."""
    told = []
    for code, count in counts(notes.values()).items():
        names = [name for name, codes in notes.items() if code in codes]
        more = f" and {count - _MOST_NAMES} more" if count > _MOST_NAMES else ""
        whose = f"{', '.join(names[:_MOST_NAMES])}{more}"
        told.append(f"{code}: {SENTENCES[code]} ({count} of {len(notes)}: {whose})")
    return told
