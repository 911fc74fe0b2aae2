"""What a release tells of its evaluation: of how many images, its main figures, the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manifests.digests import DIGEST
from manifests.errors import ReleaseError
from manifests.format.layout import EVALUATION, MEASURED_KEY
from manifests.text import is_plain, one_line

REPORT_KEY = f"{EVALUATION}/report.html"
MOST_FIGURES, LONGEST = 100, 2000
PASSED, FAILED, INCONCLUSIVE = VERDICTS = ("passed", "failed", "inconclusive")
_COUNTS = ("samples", "images", "measured", "refused")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure for the data card.

    Attributes:
        name: in words.
        low, high: of its 95 % interval; None where there is none.
        n: how many images it rests on.
        caution: why it does not stand alone, in a few words; empty where it does.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int
    caution: str = ""

    def __post_init__(self) -> None:
        _text("figures", self.name)
        for number in (self.value, self.low, self.high):
            if number is not None and not _finite(number):
                raise ReleaseError(f"evaluation: {self.name:.60} is {number!a:.40}")
        if self.value is None or (self.low is None) != (self.high is None):
            raise ReleaseError(f"evaluation: {self.name:.60} has no value, or half an interval")
        _count("n", self.n)
        if self.caution:
            _text("figures", self.caution)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value or name != "caution"}

    @property
    def told(self) -> str:
        """The number for people: `0.951 (0.94 to 0.962)`, and why it does not stand alone."""
        within = [] if self.low is None else [f"{self.low:.3g} to {self.high:.3g}"]
        within += [self.caution] if self.caution else []
        return f"{self.value:.3g}" + (f" ({'; '.join(within)})" if within else "")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An evaluation that a release carries.

    Attributes:
        sha256: of its evaluation.json, by which one is told from another.
        samples, images: of the release when it was evaluated.
        measured, refused: images of it that were measured, and that the tools refused.
        reference: how many real people it was held against.
        figures: for the data card.
        verdict: of the privacy audit: "passed" where it found nothing and could have, "failed", or
            "inconclusive" where a leak could have passed unseen.
        reasons: why it failed or could not tell, a line each.
        rule: of the audit, in words.
    """

    sha256: str
    samples: int
    images: int
    measured: int
    refused: int
    reference: int
    figures: tuple[Figure, ...]
    verdict: str
    reasons: tuple[str, ...]
    rule: str

    def __post_init__(self) -> None:
        if not isinstance(self.sha256, str) or not DIGEST.fullmatch(self.sha256):
            raise ReleaseError("evaluation: sha256 is no SHA-256")
        for name in (*_COUNTS, "reference"):
            _count(name, getattr(self, name))
        if not self.measured + self.refused <= self.images <= self.samples:
            counts = ", ".join(f"{getattr(self, name)} {name}" for name in _COUNTS)
            raise ReleaseError(f"evaluation: its counts contradict each other: {counts}")
        if self.verdict not in VERDICTS or self.passed is bool(self.reasons):
            raise ReleaseError("evaluation: its verdict and the reasons contradict each other")
        if len(self.figures) > MOST_FIGURES or len(self.reasons) > MOST_FIGURES:
            raise ReleaseError(f"evaluation: more than {MOST_FIGURES} figures or reasons")
        for text in (self.rule, *self.reasons):
            _text("reasons", text)

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "passed": self.passed,
            "figures": [figure.to_json() for figure in self.figures],
            "reasons": list(self.reasons),
        }

    @classmethod
    def from_json(cls, document: Any) -> Evaluation | None:
        """The inverse of `to_json`; None of None. Raises ReleaseError for what it did not write."""
        if document is None:
            return None
        names = set(cls.__dataclass_fields__)
        figures = document.get("figures") if isinstance(document, Mapping) else None
        if not isinstance(figures, list) or not isinstance(document.get("reasons"), list):
            raise ReleaseError(f"evaluation is {document!a:.60}")
        if "verdict" not in document:  # of a release before 0.2, which knew two verdicts
            document = {**document, "verdict": _of_two(document.get("passed"))}
        if absent := names - set(document):
            raise ReleaseError(f"evaluation: no {min(absent)}")
        fields: dict[str, Any] = {name: document[name] for name in names}
        fields["figures"] = tuple(map(_figure, figures))
        return cls(**{**fields, "reasons": tuple(fields["reasons"])})

    @property
    def told(self) -> str:
        """On one line: of what, and the verdict."""
        return f"of {self.measured:,} images; its privacy audit {self.said}"

    @property
    def passed(self) -> bool:
        """Whether the audit found nothing and could have."""
        return self.verdict == PASSED

    @property
    def said(self) -> str:
        """The verdict as a predicate: `passed`, `FAILED`, `was inconclusive`."""
        return {PASSED: "passed", FAILED: "FAILED"}.get(self.verdict, "was inconclusive")


def is_evaluation(key: str) -> bool:
    """Whether a file of a release is of its evaluation."""
    return key == MEASURED_KEY or key.startswith(f"{EVALUATION}/")


def _of_two(passed: Any) -> str | None:
    """A verdict of `passed` alone; None of anything but a truth value."""
    return {True: PASSED, False: FAILED}[passed] if isinstance(passed, bool) else None


def _figure(document: Any) -> Figure:
    if not isinstance(document, Mapping) or not {"name", "value", "n"} <= set(document):
        raise ReleaseError(f"evaluation: a figure is {document!a:.60}")
    fields = {name: document.get(name) for name in Figure.__dataclass_fields__}
    fields["caution"] = fields["caution"] or ""
    return Figure(**fields)  # type: ignore[arg-type]


def _finite(number: Any) -> bool:
    plain = isinstance(number, (int, float)) and not isinstance(number, bool)
    return plain and math.isfinite(number)


def _count(name: str, number: Any) -> None:
    if type(number) is not int or number < 0:
        raise ReleaseError(f"evaluation: {name} is {number!a:.40}, expected a number of 0 or more")


def _text(name: str, text: Any) -> None:
    if not isinstance(text, str) or not text or len(text) > LONGEST or not is_plain(text):
        raise ReleaseError(f"evaluation: {name} has {one_line(ascii(text))[:60]}")
