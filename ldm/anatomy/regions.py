"""The regions into which the structures of `labels` are divided, and what others call them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ldm.anatomy import labels

LEFT, RIGHT, MIDLINE = "left", "right", ""
UNKNOWN = 255  # in a map of kinds: not background, and of no kind that is told


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is told apart within a structure, on one side or both.

    Attributes:
        name: in the field's words.
        short: for the columns of a table, and the label map's.
        structure: of `labels`, which it is part of.
        right, left: its numbers in a MUSE map (Doshi et al. 2016); of the midline, in `right`.
        bids: its number in the common look-up table of BIDS derivatives.
    """

    name: str
    short: str
    structure: int
    right: tuple[int, ...]
    left: tuple[int, ...] = ()
    bids: int

    @property
    def paired(self) -> bool:
        return bool(self.left)


@dataclass(frozen=True, kw_only=True)
class Region:
    """A kind on its side.

    Attributes:
        number: in our label maps, from 1.
        kind: place in `KINDS`. side: `LEFT`, `RIGHT` or `MIDLINE`.
        name: "left hippocampus". key: "left_hippocampus". short: "L-Hip".
        colour: RGB, both sides alike.
    """

    number: int
    kind: int
    side: str
    name: str
    key: str
    short: str
    colour: tuple[int, int, int]
    bids: int


# Numbers of BIDS' common look-up table.
_GREY, _WHITE, _FLUID, _CORTEX, _DEEP, _STEM, _CEREBELLUM = 1, 2, 3, 8, 9, 10, 11


def _pair(
    name: str, short: str, structure: int, bids: int, right: tuple[int, ...], *, left_from: int = 1
) -> Kind:
    """A kind whose left number follows its right one (`left_from` 1) or goes before it (-1)."""
    left = tuple(number + left_from for number in right)
    return Kind(name=name, short=short, structure=structure, right=right, left=left, bids=bids)


def _middle(name: str, short: str, structure: int, bids: int, *numbers: int) -> Kind:
    return Kind(name=name, short=short, structure=structure, right=numbers, bids=bids)


_G, _W = labels.GREY, labels.WHITE
_FRONTAL = (104, 112, 118, 120, 124, 136, 140, 142, 146, 150, 152, 162, 164, 178, 182, 186, 190)
# fmt: off
KINDS = (
    _pair("frontal cortex", "FrCtx", _G, _CORTEX, (*_FRONTAL, 192, 204)),
    _pair("parietal cortex", "PaCtx", _G, _CORTEX, (106, 148, 168, 174, 176, 194, 198)),
    _pair("temporal cortex", "TeCtx", _G, _CORTEX, (122, 132, 154, 180, 184, 200, 202, 206)),
    _pair("occipital cortex", "OcCtx", _G, _CORTEX, (108, 114, 128, 134, 144, 156, 160, 196)),
    _pair("cingulate cortex", "CgCtx", _G, _CORTEX, (100, 138, 166)),
    _pair("parahippocampal cortex", "PhCtx", _G, _CORTEX, (116, 170)),
    _pair("insula", "Ins", _G, _CORTEX, (102, 172)),
    _pair("hippocampus", "Hip", _G, _DEEP, (47,)),
    _pair("amygdala", "Amy", _G, _DEEP, (31,)),
    _pair("caudate", "Cau", _G, _DEEP, (36,)),
    _pair("putamen", "Put", _G, _DEEP, (57,)),
    _pair("pallidum", "Pal", _G, _DEEP, (55,)),
    _pair("thalamus", "Tha", _G, _DEEP, (59,)),
    Kind(name="accumbens", short="Acc", structure=_G, right=(23,), left=(30,), bids=_DEEP),
    _pair("basal forebrain", "BFb", _G, _DEEP, (76,), left_from=-1),
    _pair("frontal white matter", "FrWM", _W, _WHITE, (81,)),
    _pair("parietal white matter", "PaWM", _W, _WHITE, (85,)),
    _pair("temporal white matter", "TeWM", _W, _WHITE, (87,)),
    _pair("occipital white matter", "OcWM", _W, _WHITE, (83,)),
    _pair("internal capsule", "IC", _W, _WHITE, (91, 93)),
    _pair("fornix", "Fx", _W, _WHITE, (89,)),
    _pair("ventral diencephalon", "VDC", _W, _DEEP, (61,)),
    _pair("cerebellar cortex", "CbCtx", _G, _CEREBELLUM, (38,)),
    _pair("cerebellar white matter", "CbWM", _W, _CEREBELLUM, (40,)),
    _pair("lateral ventricle", "LV", labels.VENTRICLE, _FLUID, (51,)),
    _pair("inferior horn of the lateral ventricle", "ILV", labels.VENTRICLE, _FLUID, (49,)),
    _middle("cerebellar vermis", "Ver", _G, _CEREBELLUM, 71, 72, 73),
    _middle("corpus callosum", "CC", _W, _WHITE, 95),
    _middle("brain stem", "BS", labels.STEM, _STEM, 35),
    _middle("third ventricle", "3V", labels.CSF, _FLUID, 4),
    _middle("fourth ventricle", "4V", labels.CSF, _FLUID, 11),
    _middle("outer cerebrospinal fluid", "CSF", labels.CSF, _FLUID, 1, 46),
)
# fmt: on


def _hue(place: int) -> tuple[int, int, int]:
    """Colours far apart for neighbours: the golden angle around the circle, three lightnesses."""
    import colorsys

    lightness = (0.42, 0.58, 0.74)[place % 3]
    red, green, blue = colorsys.hls_to_rgb(place * 0.618034 % 1, lightness, 0.65)
    return round(255 * red), round(255 * green), round(255 * blue)


def _regions() -> Iterator[Region]:
    number = 0
    for place, kind in enumerate(KINDS):
        for side in (LEFT, RIGHT) if kind.paired else (MIDLINE,):
            number += 1
            name = f"{side} {kind.name}".strip()
            yield Region(
                number=number,
                kind=place,
                side=side,
                name=name,
                key=name.replace(" ", "_"),
                short=f"{side[:1].upper()}-{kind.short}" if side else kind.short,
                colour=_hue(place),
                bids=kind.bids,
            )


REGIONS = tuple(_regions())
STRUCTURE_OF = np.array([kind.structure for kind in KINDS], dtype=np.uint8)  # of a kind
# The number of a region, by its kind and by whether it is on the right, (kinds, 2).
NUMBERS = np.zeros((len(KINDS), 2), dtype=np.uint8)
for _region in REGIONS:
    if _region.side != RIGHT:
        NUMBERS[_region.kind, 0] = _region.number
    if _region.side != LEFT:
        NUMBERS[_region.kind, 1] = _region.number


def from_muse(muse: np.ndarray) -> np.ndarray:
    """A MUSE label map as one of our regions, uint8: 0 is background, and `UNKNOWN` what none of
    them is."""
    table = np.full(256, UNKNOWN, dtype=np.uint8)
    table[0] = 0
    for kind, numbers in zip(KINDS, NUMBERS, strict=True):
        for theirs in kind.left:
            table[theirs] = numbers[0]
        for theirs in kind.right:
            table[theirs] = numbers[1]
    return np.asarray(table[muse])


def volumes(found: np.ndarray, voxel_volume: float) -> dict[str, float]:
    """mm3 of every region of a label map (X, Y, Z), by its key; 0 where there is none of it."""
    counts = np.bincount(found.ravel(), minlength=len(REGIONS) + 1)
    return {region.key: float(counts[region.number] * voxel_volume) for region in REGIONS}
