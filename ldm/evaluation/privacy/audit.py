"""Whether a model gives its training subjects away: near-copies and membership, with a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ldm.errors import LdmError
from ldm.evaluation.privacy.nearness import (
    CEILING,
    FEWEST_HELD_OUT,
    OTHERS,
    Matches,
    Nearness,
    copy_threshold,
    crowding_p,
    matched_nearness,
    nearness,
)
from ldm.evaluation.privacy.power import Power, caught
from ldm.evaluation.privacy.verdict import (
    FAILED,
    INCONCLUSIVE,
    PASSED,
    Alike,
    Audit,
    Finding,
    Near,
)
from ldm.evaluation.statistics import checks, intervals, ranking
from ldm.evaluation.statistics.neighbours import nearest

LEVEL = 0.01
QUANTILE = 0.05  # of the held-out subjects' relative distances, for the crowding rule
_CLOSEST = 10
_TESTS = 3  # rules in each space

RULE = (
    "In every space, at a level of {level:g} shared among {tests} tests: (1) no synthetic volume "
    "is nearer to one training subject, relative to the next {others}, than chance allows among as "
    "many real subjects who are not that one; (2) no more synthetic volumes than chance allows "
    "fall below those subjects' {quantile:g} quantile of that relative distance; (3) training "
    "subjects are not nearer to the synthetic volumes than held-out subjects are (one-sided "
    "Mann-Whitney test). And leaks that are planted, a twentieth of the volumes, are caught eight "
    "times in ten: else nothing was found because nothing could be, and the verdict is "
    "inconclusive."
)
NOT_PLANTED = "no leaks were planted, so what would have been caught is not known"


class Told(Protocol):
    """One way to measure distance: `Space` or `Folds`.

    Attributes:
        name: in reports.
        mirrored: whether flips are looked for.
        ceiling: relative distance above which nothing is a near-copy.
        n_training, n_held_out, n_synthetic: persons that were trained on, real ones that were not,
            volumes.
    """

    @property
    def name(self) -> str: ...
    @property
    def mirrored(self) -> bool: ...
    @property
    def ceiling(self) -> float: ...
    @property
    def n_training(self) -> int: ...
    @property
    def n_held_out(self) -> int: ...
    @property
    def n_synthetic(self) -> int: ...

    def nearness(self) -> tuple[Nearness, Nearness]:
        """Of the synthetic volumes to the training subjects, and of real subjects to others."""

    def to_synthetic(self) -> tuple[np.ndarray, np.ndarray]:
        """Distances of training and of held-out subjects to their nearest synthetic volume."""


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

    def to_synthetic(self) -> tuple[np.ndarray, np.ndarray]:
        """Distances of training and of held-out subjects to their nearest synthetic volume."""
        made = self.synthetic
        if self.synthetic_mirrored is not None:
            made = np.concatenate([made, self.synthetic_mirrored])
        of_training, of_held_out = (
            nearest(real, made, 1).distances[:, 0] for real in (self.once, self.held_out)
        )
        return of_training, of_held_out

    @property
    def ceiling(self) -> float:
        """Carlini et al. 2023."""
        return CEILING

    @property
    def n_training(self) -> int:
        return len(self.once)

    @property
    def n_held_out(self) -> int:
        return len(self.held_out)

    @property
    def n_synthetic(self) -> int:
        return len(self.synthetic)

    @property
    def _mirrors(self) -> tuple[str, ...]:
        return (
            () if self.synthetic_mirrored is None else ("held_out_mirrored", "synthetic_mirrored")
        )

    @property
    def mirrored(self) -> bool:
        """Whether flips are looked for."""
        return self.synthetic_mirrored is not None


@dataclass(frozen=True, kw_only=True)
class Folds:
    """Volumes and people matched part by part, by `ldm.evaluation.privacy.matching`.

    As nothing in it is learnt, every real subject, trained on or not, tells how near a volume comes
    to people whom it does not show: to all but themselves.

    Attributes:
        persons: (P,) whose each row of the people is. trained: (P,) whether it was trained on.
        synthetic: matches of the release's volumes with the people.
        real: of some of the people with the people. shown: whom each of those rows shows.
        planted: of leaks, by make; `planted_of` whom each was made of.
        name: in reports.
    """

    persons: tuple[str, ...]
    trained: np.ndarray = field(repr=False)
    synthetic: Matches = field(repr=False)
    real: Matches = field(repr=False)
    shown: tuple[str, ...]
    planted: Mapping[str, Matches] = field(repr=False)
    planted_of: Mapping[str, tuple[tuple[str, ...], ...]] = field(repr=False)
    name: str = "folds"

    @property
    def mirrored(self) -> bool:
        return True

    @property
    def ceiling(self) -> float:
        """None: two people are about alike far, and a copy bent by 3 mm lies at 0.6 to 0.9."""
        return 1.0

    @property
    def n_training(self) -> int:
        return len(self._names(self.trained))

    @property
    def n_held_out(self) -> int:
        return len(self._names(~self.trained))

    @property
    def n_synthetic(self) -> int:
        return len(self.synthetic.people)

    def nearness(self) -> tuple[Nearness, Nearness]:
        """Of the synthetic volumes to the training subjects, and of real subjects to all but
        themselves."""
        made = matched_nearness(self.synthetic, self.persons, self.trained)
        return made, matched_nearness(self.real, self.persons, self.trained, self.shown)

    def leaks(self, make: str) -> Nearness:
        """Of planted leaks of that make to the training subjects."""
        return matched_nearness(self.planted[make], self.persons, self.trained)

    def found_source(self, make: str, found: Nearness) -> float:
        """The share of leaks whose nearest subject is one they were made of."""
        pairs = zip(found.subject, self.planted_of[make], strict=True)
        return float(np.mean([self.persons[subject] in of for subject, of in pairs]))

    def to_synthetic(self) -> tuple[np.ndarray, np.ndarray]:
        """Distances of training and of held-out subjects to their nearest synthetic volume; the
        greatest of all, where a subject is no volume's candidate."""
        names = np.unique(self.persons, return_inverse=True)[1]
        nearest_of = np.full(names.max() + 1, float(self.synthetic.distances.max()))
        np.minimum.at(nearest_of, names[self.synthetic.people], self.synthetic.distances)
        of_training, of_held_out = (
            nearest_of[np.unique(names[which])] for which in (self.trained, ~self.trained)
        )
        return of_training, of_held_out

    def _names(self, which: np.ndarray) -> set[str]:
        return {name for name, one in zip(self.persons, which, strict=True) if one}


def audit(*spaces: Told, level: float = LEVEL) -> Audit:
    """Whether the synthetic volumes give training subjects away, by the rules in `RULE`.

    Near-copies are told by the relative distance of `nearness`, calibrated by `copy_threshold` on
    real subjects and whom they do not show; membership inference is the distance attack of Chen et
    al. 2020 (GAN-Leaks, CCS, section 4.2). All three rest on training and held-out subjects being
    drawn by the same chance: a split by site or by age fails an innocent model.

    Args:
        spaces: at least one; features, registered images and folds for a release. Leaks are planted
            among the folds; without those no audit passes.
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
    measured = [_Measured.of(space, level / tests) for space in spaces]
    findings = tuple(one.finding() for one in measured)
    reasons = tuple(reason for found in findings for reason in _reasons(found, level / tests))
    power = next((one.power(one.space) for one in measured if isinstance(one.space, Folds)), None)
    doubts = power.doubts if power is not None and power.caught else (NOT_PLANTED,)
    return Audit(
        verdict=FAILED if reasons else INCONCLUSIVE if doubts else PASSED,
        reasons=reasons or doubts,
        rule=RULE.format(level=level, tests=tests, others=OTHERS, quantile=QUANTILE),
        level=level,
        findings=findings,
        power=power,
        alike=tuple(pair for one in measured for pair in one.alike),
    )


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """A space, how near everything in it is, and what that makes of a near-copy.

    Attributes:
        made: of the synthetic volumes.
        null: (H,) relative distances of real subjects, but for those who are in there twice.
        alike: those.
    """

    space: Told
    level: float
    made: Nearness
    reference: np.ndarray
    null: np.ndarray
    threshold: float
    alike: tuple[Alike, ...]

    @classmethod
    def of(cls, space: Told, level: float) -> _Measured:
        made, real = space.nearness()
        null = real.relative
        alike: tuple[Alike, ...] = ()
        if isinstance(space, Folds):
            rows = list(_twice(real.relative, level))
            null = np.delete(real.relative, rows)
            alike = tuple(
                Alike(
                    one=space.shown[row],
                    other=space.persons[real.subject[row]],
                    relative=float(real.relative[row]),
                )
                for row in rows
            )
        threshold = copy_threshold(null, space.n_synthetic, level, space.ceiling)
        return cls(
            space=space,
            level=level,
            made=made,
            reference=real.distance,
            null=null,
            threshold=threshold,
            alike=alike,
        )

    @property
    def rank(self) -> int:
        """Of the real subject below whose relative distance volumes crowd."""
        return max(1, int(QUANTILE * (len(self.null) + 1)))

    def finding(self) -> Finding:
        space, made = self.space, self.made
        count, people = space.n_synthetic, len(self.null)
        below = int((made.relative < np.sort(self.null)[self.rank - 1]).sum())
        trained, other = space.to_synthetic()
        return Finding(
            name=space.name,
            mirrored=space.mirrored,
            n_training=space.n_training,
            n_held_out=space.n_held_out,
            n_synthetic=count,
            to_training=intervals.median(made.distance),
            reference=intervals.median(self.reference),
            threshold=self.threshold,
            near_copies=intervals.proportion(int((made.relative < self.threshold).sum()), count),
            quantile=self.rank / (people + 1),
            crowding=intervals.proportion(below, count),
            crowding_p=crowding_p(below, count, self.rank, people),
            membership=ranking.auc(-trained, -other),
            membership_p=_less(trained, other),
            detectable_auc=_detectable(len(trained), len(other), self.level),
            closest=_closest(made),
        )

    def power(self, folds: Folds) -> Power:
        """What would have been caught by the first two rules among these folds."""
        near = {make: folds.leaks(make) for make in folds.planted}
        return Power(
            volumes=folds.n_synthetic,
            level=2 * self.level,
            planted=min((len(one.relative) for one in near.values()), default=0),
            caught={
                make: caught(
                    self.null,
                    one.relative,
                    folds.n_synthetic,
                    self.threshold,
                    self.rank,
                    self.level,
                )
                for make, one in near.items()
            },
            found_source={make: folds.found_source(make, one) for make, one in near.items()},
        )


def _twice(relative: np.ndarray, level: float) -> Iterator[int]:
    """Rows of real subjects who lie below the threshold that the others give: somebody who is there
    under two names, or a twin; the nearest first."""
    order = np.argsort(relative)
    for number, row in enumerate(order):
        rest = relative[order[number + 1 :]]
        if len(rest) < FEWEST_HELD_OUT:
            return
        if relative[row] >= copy_threshold(rest, len(relative), level, 1.0):
            return
        yield int(row)


def _reasons(found: Finding, level: float) -> Sequence[str]:
    """Why a space fails, a line a rule."""
    copies = round(found.near_copies.value * found.n_synthetic)
    crowd = round(found.crowding.value * found.n_synthetic)
    reasons = []
    if copies:
        reasons.append(
            f"{found.name}: {copies} of {found.n_synthetic} synthetic volumes are near-copies of a "
            f"training subject (relative distance below {found.threshold:.3g}; the nearest at "
            f"{found.closest[0].relative:.3g})"
        )
    if found.crowding_p < level:
        reasons.append(
            f"{found.name}: {crowd} of {found.n_synthetic} synthetic volumes are as near to one "
            f"training subject as {found.quantile:.1%} of real subjects are to another "
            f"(p = {found.crowding_p:.2g})"
        )
    if found.membership_p < level:
        reasons.append(
            f"{found.name}: training subjects are told from held-out ones by their distance to the "
            f"synthetic volumes (AUC {found.membership.value:.3f}, p = {found.membership_p:.2g})"
        )
    return reasons


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
