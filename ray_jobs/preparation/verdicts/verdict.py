"""What an inspection means for training: what is amiss with one subject, and what mends it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ldm.anatomy.inspection.scan import HEAD, UNDECIDED, Inspection
from ldm.anatomy.inspection.surroundings import holds_head
from ldm.volumes.grid import Grid
from ray_jobs.preparation.options import Work

# Shares of a brain outside the grid or the scan: from the first it is told, from the second no
# model can be right. A good fit leaves 0.000 to 0.001 outside.
_TOLD_CUT, _MOST_CUT = 0.005, 0.03
_TOLD_HEAD_CUT = 0.03
# Of 37 brains of two cohorts a mask took 0.0 to 1.9 %, and 4.6 % of the one it cut into.
_TOLD_TAKEN = 0.03
# Centred images are told from here; registration itself is some 3 degrees and 3 mm sure.
_TILTED, _SHIFTED = 10.0, 10.0
# Images that lie in MNI space register to within 3.6 degrees and 2.5 mm of where they are; of 25
# native scans the nearest were 9.5 degrees and 7.4 mm away, and 8.1 and 9.7.
_BELIEVED_DEGREES, _BELIEVED_MM = 6.0, 6.0

REGISTER, STRIP = "--placement register", "--skull-strip"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is amiss.

    Attributes:
        name: for sums, such as "tilted".
        text: what was found.
        flags: what mends it.
        refuses: whether the subject cannot be used so.
    """

    name: str
    text: str
    flags: tuple[str, ...] = ()
    refuses: bool = False


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is amiss with a subject; nothing is where it is fine."""

    faults: tuple[Fault, ...]

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(faults=(*self.faults, *other.faults))

    @property
    def refused(self) -> bool:
        return any(fault.refuses for fault in self.faults)

    @property
    def names(self) -> list[str]:
        """Of the faults, the gravest first."""
        return [fault.name for fault in self._ordered]

    @property
    def _ordered(self) -> list[Fault]:
        return sorted(self.faults, key=lambda fault: not fault.refuses)

    @property
    def line(self) -> str:
        """What was found, the gravest first, then the options that mend it, each once."""
        flags = dict.fromkeys(flag for fault in self._ordered for flag in fault.flags)
        ordered = sorted(flags, key=lambda flag: flag != REGISTER)
        texts = "; ".join(fault.text for fault in self._ordered)
        return f"{texts}: {', '.join(ordered)}" if ordered else texts


def of_numbers(background: str | None, brightness: str | None) -> Verdict:
    """What is amiss with a scan's background and its brightest voxels, each told in a line."""
    told = (("background not the darkest", background), ("over-bright", brightness))
    return Verdict(faults=tuple(Fault(name=name, text=text) for name, text in told if text))


def verdict(found: Inspection, work: Work, grid: Grid) -> Verdict:
    """What is amiss with a subject that was placed on `grid` and inspected there."""
    faults = [*_placed(found, work), *_shown(found, work, grid), *_cut(found, work, grid)]
    return Verdict(faults=tuple(faults))


def unrecognised(reason: str, work: Work) -> Verdict:
    """Of a scan that does not register: told where it is centred, else refused."""
    believed = work.placement == "affine"
    text = (
        f"not seen to lie in MNI space, which --placement affine trusts ({reason})"
        if believed
        else f"not recognised, so that skull, tilt and what is cut off are unknown ({reason})"
    )
    return Verdict(faults=(Fault(name="not recognised", text=text, refuses=believed),))


def _placed(found: Inspection, work: Work) -> Iterator[Fault]:
    away = f"{found.turned:.0f} degrees and {found.shifted:.0f} mm"
    if work.placement == "affine":
        if found.turned > _BELIEVED_DEGREES or found.shifted > _BELIEVED_MM:
            text = f"lies {away} away from MNI space, which --placement affine trusts"
            yield Fault(name="not in MNI space", text=text, flags=(REGISTER,), refuses=True)
    elif work.placement == "centre":
        if found.turned > _TILTED:
            text = f"tilted by {found.turned:.0f} degrees"
            yield Fault(name="tilted", text=text, flags=(REGISTER,))
        if found.shifted > _SHIFTED:
            text = f"its brain {found.shifted:.0f} mm off the middle"
            yield Fault(name="off the middle", text=text, flags=(REGISTER,))


def _shown(found: Inspection, work: Work, grid: Grid) -> Iterator[Fault]:
    if found.kind == UNDECIDED:
        text = "too noisy to tell a head from a brain; previews/prepared.png shows it"
        mending = () if work.skull_strip else (f"{STRIP} if it is a head",)
        yield Fault(name="too noisy to tell head from brain", text=text, flags=mending)
    if found.kind != HEAD:
        return
    if work.skull_strip:
        text = f"skull or scalp is left after {STRIP}; strip it with another tool, then look at it"
        yield Fault(name="not stripped", text=text, refuses=True)
    elif not holds_head(grid):
        text = f"a whole head, skull included, on a grid for brains ({_size(grid)})"
        flags = (STRIP, "or --preset paper for a model of heads")
        yield Fault(name="whole head", text=text, flags=flags, refuses=True)
    elif found.face:
        text = "a whole head with its face, which a model may draw again"
        yield Fault(name="with a face", text=text, flags=("deface it first", f"or {STRIP}"))


def _cut(found: Inspection, work: Work, grid: Grid) -> Iterator[Fault]:
    flags = () if work.placement == "register" else (REGISTER,)
    if found.cut >= _TOLD_CUT:
        text = f"{found.cut:.1%} of the brain lies outside the grid ({_size(grid)})"
        yield Fault(name="cut off", text=text, flags=flags, refuses=found.cut >= _MOST_CUT)
    if found.unseen >= _TOLD_CUT:
        text = f"{found.unseen:.1%} of the brain lies outside the scan"
        yield Fault(name="not all scanned", text=text, refuses=found.unseen >= _MOST_CUT)
    if found.taken >= _TOLD_TAKEN:
        text = (
            f"{found.taken:.1%} of the brain was taken away by its mask: strip it anew, if you can"
        )
        yield Fault(name="cut into by its mask", text=text)
    if found.head_cut >= _TOLD_HEAD_CUT and holds_head(grid):
        text = f"{found.head_cut:.1%} of the head above the eyes lies outside the grid"
        yield Fault(name="head cut off", text=text, flags=flags)


def _size(grid: Grid) -> str:
    return f"{' x '.join(f'{side * grid.spacing:g}' for side in grid.shape)} mm"
