"""Preparing a sample with the first of its images that can be used; what was tried is told."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ldm.volumes.grid import Grid
from ray_jobs.preparation.bids.subjects import Subject
from ray_jobs.preparation.notes import PASSED_OVER
from ray_jobs.preparation.options import Options, Work
from ray_jobs.preparation.subject import kept, prepare_subject

MOST_LINES = 20


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """A sample's images, the one to use first, and what each is put through."""

    name: str
    images: tuple[Path, ...]
    works: tuple[Work, ...]

    @classmethod
    def of(cls, subject: Subject, options: Options, *, heads_known: bool) -> Attempts:
        """Those of a usable subject."""
        tried = (subject, *subject.others)
        return cls(
            name=subject.participant_id,
            images=tuple(one.image for one in tried if one.image is not None),
            works=tuple(
                options.work(
                    unmeasured=bool(one.unmeasured),
                    intracranial=heads_known,
                    suffix=one.suffix,
                    guide=str(one.guide) if one.guide else None,
                )
                for one in tried
                if one.image is not None
            ),
        )

    def kept(self, volumes: Path, grid: Grid) -> dict[str, Any] | None:
        """What `prepare` returned, with "redone" False, where that very work is there."""
        for number, image, work, before in self._each():
            outcome = kept(self.name, image, volumes, grid, work, before)
            # Of several images that are refused one alone is there, and the reasons are of all.
            if outcome is not None and ("sha256" in outcome or len(self.images) == 1):
                return {**outcome, "used": number}
        return None

    def prepare(self, volumes: Path, grid: Grid) -> dict[str, Any]:
        """The outcome of `prepare_subject` for the first image that can be used, and "used", its
        number; where none can, the reason of each."""
        reasons: list[str] = []
        outcome: dict[str, Any] = {}
        for number, image, work, before in self._each():
            outcome = prepare_subject(self.name, image, volumes, grid, work, before)
            if "reason" not in outcome:
                return {**outcome, "used": number}
            reasons.append(str(outcome["reason"]))
        if len(reasons) == 1:
            return outcome
        told = zip(self.images, reasons, strict=True)
        line = "; ".join(f"{image.name}: {reason}" for image, reason in told)
        return {**outcome, "reason": line}

    def to_json(self) -> str:
        """For a Ray item, of which each column has one type."""
        works = [asdict(work) for work in self.works]
        return json.dumps({"name": self.name, "images": [*map(str, self.images)], "works": works})

    @classmethod
    def from_json(cls, text: str) -> Attempts:
        found = json.loads(text)
        return cls(
            name=found["name"],
            images=tuple(map(Path, found["images"])),
            works=tuple(Work(**work) for work in found["works"]),
        )

    def _each(self) -> Iterator[tuple[int, Path, Work, tuple[Path, ...]]]:
        for number, (image, work) in enumerate(zip(self.images, self.works, strict=True)):
            yield number, image, work, self.images[:number]


def resolved(subject: Subject, outcome: Mapping[str, Any]) -> Subject:
    """The subject as it was used: with another image where the first could not be read."""
    if not (number := outcome.get("used", 0)):
        return subject
    first = subject.image.name if subject.image else ""
    chosen = subject.others[number - 1]
    notes = tuple(dict.fromkeys((*chosen.notes, PASSED_OVER)))
    return replace(chosen, notes=notes, why=f"{first} cannot be used", others=subject.others)


def told_choices(subjects: list[Subject], bids: Path) -> Iterator[str]:
    """A line for each of the first samples whose image was chosen, and one for the rest."""
    chosen = [subject for subject in subjects if subject.why and subject.image]
    for subject in chosen[:MOST_LINES]:
        assert subject.image is not None
        name = Path(*subject.image.relative_to(bids).parts[1:])
        yield f"chosen: {subject.participant_id}: {name} ({subject.why})"
    if (more := len(chosen) - MOST_LINES) > 0:
        yield f"chosen: and {more} more; column image of subjects.parquet names them all"
