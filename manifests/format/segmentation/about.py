"""What a release tells of its label maps: the tool that drew them, and the regions they tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manifests.digests import DIGEST
from manifests.errors import ReleaseError
from manifests.text import is_plain

MOST_REGIONS = 255  # a map has 8 bits, and 0 is background
LONGEST = 2000
PREFIX = "volume_"
_KEY = re.compile(r"[a-z][a-z0-9_]{0,79}")


@dataclass(frozen=True, kw_only=True)
class Region:
    """A region of the brain.

    Attributes:
        number: in the maps, from 1.
        name: in the field's words, such as "left hippocampus".
        key: of its column, such as "left_hippocampus".
        abbreviation: such as "L-Hip".
        colour: RGB, 0 to 255.
        mapping: its number in the look-up table that BIDS derivatives share; 0 where it has none.
    """

    number: int
    name: str
    key: str
    abbreviation: str
    colour: tuple[int, int, int]
    mapping: int

    def __post_init__(self) -> None:
        if not _whole(self.number, 1, MOST_REGIONS) or not _whole(self.mapping, 0, 10**6):
            raise _wrong(f"region {self.number!a:.20} with mapping {self.mapping!a:.20}")
        if not isinstance(self.key, str) or not _KEY.fullmatch(self.key):
            raise _wrong(f"a region's key is {self.key!a:.60}")
        for text in (self.name, self.abbreviation):
            _check_text("a region's name", text)
        if len(self.colour) != 3 or not all(_whole(part, 0, 255) for part in self.colour):
            raise _wrong(f"region {self.number} has the colour {self.colour!a:.60}")

    @property
    def column(self) -> str:
        """Of its volume in mm3."""
        return PREFIX + self.key

    @property
    def hex_colour(self) -> str:
        """As BIDS writes it: #rrggbb."""
        return "#{:02x}{:02x}{:02x}".format(*self.colour)


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """Which tool drew a release's label maps, under which terms, and what they tell.

    Attributes:
        tool: its name.
        fingerprint: SHA-256 of its files, by which one tool is told from another.
        license: SPDX identifier of the licence that its weights, and so the maps, are under.
        attribution, description: for readers; "" where its card says nothing.
        images: how many the release had when it was segmented last.
        regions: in order of their numbers.

    Raises:
        ReleaseError: what no tool of ours says.
    """

    tool: str
    fingerprint: str
    license: str
    attribution: str = ""
    description: str = ""
    images: int
    regions: tuple[Region, ...]

    def __post_init__(self) -> None:
        for name in ("tool", "license"):
            _check_text(name, getattr(self, name))
        for name in ("attribution", "description"):
            _check_text(name, getattr(self, name), least=0)
        if not isinstance(self.fingerprint, str) or not DIGEST.fullmatch(self.fingerprint):
            raise _wrong("its fingerprint is no SHA-256")
        if not _whole(self.images, 0, 10**12):
            raise _wrong(f"images is {self.images!a:.20}")
        numbers = [region.number for region in self.regions]
        keys = {region.key for region in self.regions}
        if not numbers or numbers != sorted(set(numbers)) or len(keys) < len(numbers):
            raise _wrong("its regions are none, not in order, or one is there twice")

    @property
    def told(self) -> str:
        """On one line: what the maps tell, by which tool."""
        return f"label maps of {len(self.regions)} regions, by {self.tool}"

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "regions": [{**vars(region), "colour": list(region.colour)} for region in self.regions],
        }

    @classmethod
    def from_json(cls, document: Any) -> Segmentation | None:
        """The inverse of `to_json`; None of None. Raises ReleaseError for what it did not write."""
        if document is None:
            return None
        regions = document.get("regions") if isinstance(document, Mapping) else None
        if not isinstance(regions, list) or len(regions) > MOST_REGIONS:
            raise _wrong(f"it is {document!a:.60}")
        names = set(cls.__dataclass_fields__)
        if absent := names - set(document):
            raise _wrong(f"no {min(absent)}")
        fields: dict[str, Any] = {name: document[name] for name in names}
        return cls(**{**fields, "regions": tuple(map(_region, regions))})


def _region(document: Any) -> Region:
    names = set(Region.__dataclass_fields__)
    if not isinstance(document, Mapping) or not names <= set(document):
        raise _wrong(f"a region is {document!a:.60}")
    fields: dict[str, Any] = {name: document[name] for name in names}
    if not isinstance(fields["colour"], list):
        raise _wrong(f"a region's colour is {fields['colour']!a:.60}")
    return Region(**{**fields, "colour": tuple(fields["colour"])})


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _check_text(name: str, text: Any, *, least: int = 1) -> None:
    if not isinstance(text, str) or not least <= len(text) <= LONGEST or not is_plain(text):
        raise _wrong(f"{name} is {text!a:.60}, expected a line of text")


def _wrong(why: str) -> ReleaseError:
    return ReleaseError(f"segmentation: {why}")
