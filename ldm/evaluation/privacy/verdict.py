"""What a privacy audit found, and its verdict, as values and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ldm.evaluation.privacy.power import Power
from ldm.evaluation.statistics.intervals import Estimate

PASSED, FAILED, INCONCLUSIVE = "passed", "failed", "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Near:
    """A synthetic volume and its nearest training subject, as row numbers of the space."""

    synthetic: int
    training: int
    distance: float
    relative: float

    def to_json(self) -> dict[str, float | int]:
        """The fields."""
        return {
            "synthetic": self.synthetic,
            "training": self.training,
            "distance": float(f"{self.distance:.6g}"),
            "relative": float(f"{self.relative:.6g}"),
        }


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the audit found in one space.

    Attributes:
        name: of the space. mirrored: whether flips were looked for.
        to_training: median distance of a synthetic volume to its nearest training subject.
        reference: the same of a held-out real subject.
        threshold: relative distance below which a volume is a near-copy.
        near_copies: their share among the synthetic volumes, with an exact binomial interval.
        quantile: the held-out subjects' quantile of the crowding rule; the share expected below.
        crowding: share of synthetic volumes below it. crowding_p: of so many by chance.
        membership: probability (AUC) that a training subject is nearer to its nearest synthetic
            volume than a held-out subject is; 0.5 where nothing can be inferred.
        membership_p: of that many by chance.
        detectable_auc: the least AUC that rule (3) would find nine times in ten at these sizes.
        closest: the volumes nearest to a training subject, nearest first.
    """

    name: str
    mirrored: bool
    n_training: int
    n_held_out: int
    n_synthetic: int
    to_training: Estimate
    reference: Estimate
    threshold: float
    near_copies: Estimate
    quantile: float
    crowding: Estimate
    crowding_p: float
    membership: Estimate
    membership_p: float
    detectable_auc: float
    closest: tuple[Near, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        plain = ("name", "mirrored", "n_training", "n_held_out", "n_synthetic")
        numbers = ("threshold", "quantile", "crowding_p", "membership_p", "detectable_auc")
        estimates = ("to_training", "reference", "near_copies", "crowding", "membership")
        found: dict[str, Any] = {name: getattr(self, name) for name in plain}
        found |= {name: getattr(self, name).to_json() for name in estimates}
        found |= {name: float(f"{getattr(self, name):.4g}") for name in numbers}
        return {**found, "closest": [near.to_json() for near in self.closest]}


@dataclass(frozen=True, kw_only=True)
class Alike:
    """Two real subjects who may be one person: the participant_ids, and how near they are."""

    one: str
    other: str
    relative: float

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return {"one": self.one, "other": self.other, "relative": float(f"{self.relative:.4g}")}


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The verdict of `audit`.

    Attributes:
        verdict: `failed` where a rule failed in any space; `inconclusive` where none did and leaks
            could have passed unseen; else `passed`. That does not prove privacy: it says that these
            tests, of the power stated, found nothing.
        reasons: one line for each rule that failed, or for what could have passed; empty when
            passed.
        rule: the rules, in words. level: the chance that a model that memorised nothing fails.
        power: what would have been caught; None where no leaks were planted.
        alike: pairs of real subjects who may be one person.
    """

    verdict: str
    reasons: tuple[str, ...]
    rule: str
    level: float
    findings: tuple[Finding, ...]
    power: Power | None = None
    alike: tuple[Alike, ...] = ()

    @property
    def passed(self) -> bool:
        return self.verdict == PASSED

    def to_json(self) -> dict[str, Any]:
        """The verdict, its rule, and every figure."""
        return {
            "passed": self.passed,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "rule": self.rule,
            "level": self.level,
            "spaces": [finding.to_json() for finding in self.findings],
            "power": None if self.power is None else self.power.to_json(),
            "alike": [pair.to_json() for pair in self.alike],
        }
