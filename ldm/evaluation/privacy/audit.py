"""Whether a model gives its training subjects away: near-copies and membership, with a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ldm.errors import LdmError
from ldm.evaluation.privacy.nearness import (
    FEWEST_HELD_OUT,
    OTHERS,
    Nearness,
    copy_threshold,
    crowding_p,
    nearness,
)
from ldm.evaluation.privacy.verdict import Audit, Finding, Near
from ldm.evaluation.statistics import checks, intervals, ranking
from ldm.evaluation.statistics.neighbours import nearest

LEVEL = 0.01
QUANTILE = 0.05  # of the held-out subjects' relative distances, for the crowding rule
_CLOSEST = 10
_TESTS = 3  # rules in each space

RULE = (
    "In every space, at a level of {level:g} shared among {tests} tests: (1) no synthetic volume "
    "is nearer to one training subject, relative to the next {others}, than chance allows among as "
    "many held-out subjects; (2) no more synthetic volumes than chance allows fall below the "
    "held-out subjects' {quantile:g} quantile of that relative distance; (3) training subjects are "
    "not nearer to the synthetic volumes than held-out subjects are (one-sided Mann-Whitney test)."
)


@dataclass(frozen=True, kw_only=True)
class Space:
    """One way to measure distance: feature vectors, or vectors of registered images.

    Attributes:
        name: in reports, such as "features" or "images".
        training: (T, D) of every subject that was trained on.
        held_out: (H, D) of real subjects that were not; at least 10, drawn by the same chance.
        synthetic: (M, D).
        held_out_mirrored, synthetic_mirrored: the same volumes after a left-right flip; both or
            neither. With them a mirrored copy is a copy.
        persons: (T,) whose each training row is; where None, each is somebody else. Of the
            held-out and for membership inference a person counts once.

    Raises:
        LdmError: shapes that differ, too few, not finite, or one mirror without the other.
    """

    name: str
    training: np.ndarray = field(repr=False)
    held_out: np.ndarray = field(repr=False)
    synthetic: np.ndarray = field(repr=False)
    held_out_mirrored: np.ndarray | None = field(default=None, repr=False)
    synthetic_mirrored: np.ndarray | None = field(default=None, repr=False)
    persons: tuple[str, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        fewest = {"training": 3, "held_out": FEWEST_HELD_OUT}
        if (self.held_out_mirrored is None) != (self.synthetic_mirrored is None):
            raise LdmError(f"{self.name}: mirrored held-out and synthetic volumes, both or neither")
        for name in ("training", "held_out", "synthetic", *self._mirrors):
            found = checks.features(
                getattr(self, name), f"{self.name}: {name}", at_least=fewest.get(name, 1)
            )
            object.__setattr__(self, name, found)
            checks.same_width(("training", self.training), (name, found))
        for name in self._mirrors:
            plain = name.removesuffix("_mirrored")
            checks.same_length((plain, getattr(self, plain)), (name, getattr(self, name)))
        if self.persons is not None:
            checks.same_length(("training", self.training), ("persons", np.array(self.persons)))

    def nearness(self) -> tuple[Nearness, Nearness]:
        """Of the synthetic and of the held-out volumes to the training subjects."""
        made = nearness(self.synthetic, self.training, self.synthetic_mirrored, self.persons)
        real = nearness(self.held_out, self.training, self.held_out_mirrored, self.persons)
        return made, real

    @property
    def once(self) -> np.ndarray:
        """(P, D) of every person that was trained on, the first row of each."""
        if self.persons is None:
            return self.training
        return self.training[np.sort(np.unique(self.persons, return_index=True)[1])]

    @property
    def _mirrors(self) -> tuple[str, ...]:
        return (
            () if self.synthetic_mirrored is None else ("held_out_mirrored", "synthetic_mirrored")
        )

    @property
    def mirrored(self) -> bool:
        """Whether flips are looked for."""
        return self.synthetic_mirrored is not None


def audit(*spaces: Space, level: float = LEVEL) -> Audit:
    """Whether the synthetic volumes give training subjects away, by the rules in `RULE`.

    Near-copies are told by the relative distance of `nearness`, calibrated on held-out subjects by
    `copy_threshold`; membership inference is the distance attack of Chen et al. 2020 (GAN-Leaks,
    CCS, section 4.2). All three rest on training and held-out subjects being drawn by the same
    chance: a split by site or by age fails an innocent model.

    Args:
        spaces: at least one; feature space and registered image space for a release.
        level: the chance that a model that memorised nothing fails, all rules and spaces together.

    Raises:
        LdmError: no space, two of one name, a level not within 0..0.5, or held-out subjects that
            were trained on.
    """
    if not spaces or len({space.name for space in spaces}) != len(spaces):
        raise LdmError(f"{len(spaces)} spaces: expected one or more, of different names")
    if not 0 < level < 0.5:
        raise LdmError(f"level {level:g}: expected more than 0 and less than 0.5")
    tests = _TESTS * len(spaces)
    findings = tuple(_finding(space, level / tests) for space in spaces)
    reasons = tuple(reason for found in findings for reason in _reasons(found, level / tests))
    rule = RULE.format(level=level, tests=tests, others=OTHERS, quantile=QUANTILE)
    return Audit(passed=not reasons, reasons=reasons, rule=rule, level=level, findings=findings)


def _finding(space: Space, level: float) -> Finding:
    made, real = space.nearness()
    count, held_out = len(space.synthetic), len(space.held_out)
    threshold = copy_threshold(real.relative, count, level)
    rank = max(1, int(QUANTILE * (held_out + 1)))
    below = int((made.relative < np.sort(real.relative)[rank - 1]).sum())
    trained, other = _to_synthetic(space)
    return Finding(
        name=space.name,
        mirrored=space.mirrored,
        n_training=len(space.once),
        n_held_out=held_out,
        n_synthetic=count,
        to_training=intervals.median(made.distance),
        reference=intervals.median(real.distance),
        threshold=threshold,
        near_copies=intervals.proportion(int((made.relative < threshold).sum()), count),
        quantile=rank / (held_out + 1),
        crowding=intervals.proportion(below, count),
        crowding_p=crowding_p(below, count, rank, held_out),
        membership=ranking.auc(-trained, -other),
        membership_p=_less(trained, other),
        detectable_auc=_detectable(len(trained), held_out, level),
        closest=_closest(made),
    )


def _reasons(found: Finding, level: float) -> Sequence[str]:
    """Why a space fails, a line a rule."""
    copies = round(found.near_copies.value * found.n_synthetic)
    crowd = round(found.crowding.value * found.n_synthetic)
    reasons = []
    if copies:
        reasons.append(
            f"{found.name}: {copies} of {found.n_synthetic} synthetic volumes are near-copies of a "
            f"training subject (relative distance below {found.threshold:.3g}; nearest: volume "
            f"{found.closest[0].synthetic}, subject {found.closest[0].training})"
        )
    if found.crowding_p < level:
        reasons.append(
            f"{found.name}: {crowd} of {found.n_synthetic} synthetic volumes are as near to one "
            f"training subject as {found.quantile:.1%} of held-out subjects are "
            f"(p = {found.crowding_p:.2g})"
        )
    if found.membership_p < level:
        reasons.append(
            f"{found.name}: training subjects are told from held-out ones by their distance to the "
            f"synthetic volumes (AUC {found.membership.value:.3f}, p = {found.membership_p:.2g})"
        )
    return reasons


def _to_synthetic(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Distances of training and of held-out subjects to their nearest synthetic volume."""
    made = space.synthetic
    if space.synthetic_mirrored is not None:
        made = np.concatenate([made, space.synthetic_mirrored])
    of_training, of_held_out = (
        nearest(real, made, 1).distances[:, 0] for real in (space.once, space.held_out)
    )
    return of_training, of_held_out


def _less(x: np.ndarray, y: np.ndarray) -> float:
    """One-sided p of x being smaller (Mann & Whitney 1947)."""
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(x, y, alternative="less").pvalue)


def _detectable(n: int, m: int, level: float) -> float:
    """Noether 1987 (JASA 82:645, eq. 3) solved for the AUC, at power 0.9."""
    from scipy.special import ndtri

    share = n / (n + m)
    reach = float(ndtri(1 - level) + ndtri(0.9))
    return min(1.0, 0.5 + reach / np.sqrt(12 * share * (1 - share) * (n + m)))


def _closest(made: Nearness) -> tuple[Near, ...]:
    order = np.argsort(made.relative, kind="stable")[:_CLOSEST]
    return tuple(
        Near(
            synthetic=int(i),
            training=int(made.subject[i]),
            distance=float(made.distance[i]),
            relative=float(made.relative[i]),
        )
        for i in order
    )
