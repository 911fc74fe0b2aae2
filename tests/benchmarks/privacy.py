"""How often the privacy audit fails an innocent release, which leaks it catches, what it costs.

    python -m tests.benchmarks.privacy [--seeds 500]
    brainpress evaluate RELEASE --real COHORT --out REPORT
    python -m tests.benchmarks.privacy --report REPORT --release RELEASE --cohort COHORT

The first: rows drawn from the population that the training and held-out rows come from. The second,
in 10 to 20 minutes on one core: folds, as that evaluation matched them, with leaks of makes other
than the audit plants. RELEASE stands for a release that shows nobody; for one with more volumes
than it has, they are drawn again.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

import ldm
from ldm import noise
from ldm.anatomy.deformed import deformed
from ldm.evaluation.privacy.audit import LEVEL, Folds, Space, audit
from ldm.evaluation.privacy.matching import CANDIDATES, Matcher
from ldm.evaluation.privacy.nearness import Matches
from ldm.evaluation.privacy.pattern import pattern
from ldm.evaluation.privacy.planted import MAKES, displaced
from ldm.evaluation.privacy.power import SHARES, WANTED
from ldm.evaluation.privacy.verdict import FAILED, Audit
from ldm.evaluation.statistics.intervals import proportion
from ldm.measuring.segmenter import load_segmenter
from ldm.volumes.grid import Grid
from ray_jobs.evaluation.measuring.folds import (
    LEAKS,
    Matched,
    PlantedLeaks,
    matches_of,
    people_patterns,
)
from ray_jobs.evaluation.measuring.measured import TRAIN, Measured
from ray_jobs.evaluation.measuring.tables import read_parts
from ray_jobs.evaluation.sources import REAL, RealVolumes, ReleaseVolumes, Source
from ray_jobs.preparation.cohort import PreparedCohort

Draw = Callable[[np.random.Generator, int, int], np.ndarray]

POPULATIONS: dict[str, Draw] = {
    "Gaussian": lambda rng, n, d: rng.standard_normal((n, d)),
    "Gaussian, sd 1/sqrt(i)": lambda rng, n, d: (
        rng.standard_normal((n, d)) / np.sqrt(np.arange(1, d + 1))
    ),
    "Student t(4), sd 1/sqrt(i)": lambda rng, n, d: (
        rng.standard_t(4, (n, d)) / np.sqrt(np.arange(1, d + 1))
    ),
}
SIZES = ((8, 20, 300), (64, 30, 500), (256, 40, 300))  # dimensions, held-out, synthetic
TRAINING = 120
RULES = {"near-copies": "near-copies", "crowding": "as near to one", "membership": "told from"}
ONE_SPACE = LEVEL / 3  # the folds' share of the level where features and images are looked at too
VOLUMES = (20, 50, 150, 1000)  # of a release
HIDDEN = ((1, 100), (20, 100), (150, 150))  # leaks among so many volumes
TRIES, EACH = 20, 20  # releases of every kind; leaks of every make
LARGE = 100_000, 30_000  # volumes and people whose cost is reckoned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--report", type=Path, help="folder that `brainpress evaluate` wrote")
    parser.add_argument("--release", help="what it evaluated")
    parser.add_argument("--cohort", type=Path, help="against whom")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.report is None:
        populations(args.seeds)
        return
    ground = Ground.of(args.report, args.release, args.cohort)
    print(f"{len(ground.folds.persons)} people, {ground.folds.n_training} trained on", flush=True)
    ground.costs()
    ground.innocent(args.seeds)
    ground.power()
    ground.conclusive()
    ground.others()


def populations(seeds: int) -> None:
    """How often innocent rows fail."""
    print(f"| population | D | held-out | synthetic | fail | {' | '.join(RULES)} |")
    print("|---|---|---|---|---|" + "---|" * len(RULES))
    for name, draw in POPULATIONS.items():
        for d, held_out, made in SIZES:
            found = []
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                training, other, rows = (draw(rng, n, d) for n in (TRAINING, held_out, made))
                space = Space(name="features", training=training, held_out=other, synthetic=rows)
                found.append(audit(space))
            print(f"| {name} | {d} | {held_out} | {made} | {failures(found)} |", flush=True)


def failures(found: list[Audit]) -> str:
    """The share that failed, with its interval, and how often each rule did."""
    share = proportion(sum(one.verdict == FAILED for one in found), len(found))
    rules = (
        str(sum(any(words in reason for reason in one.reasons) for one in found))
        for words in RULES.values()
    )
    cells = f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"
    return " | ".join([cells, *rules])


@dataclass(kw_only=True)
class Ground:
    """Folds of a release and of people, as an evaluation matched them, and how to match others."""

    folds: Folds
    patterns: np.ndarray
    real: RealVolumes
    grid: Grid

    @classmethod
    def of(cls, report: Path, uri: str, place: Path) -> Ground:
        cohort = PreparedCohort.open(place)
        real = RealVolumes.of(cohort)
        release = ReleaseVolumes.of("release", uri, cohort.schema, None)
        ending = f"{matches_of('')}-00000.parquet"
        labels = {path.name.removesuffix(ending) for path in report.glob(f"parts/*{ending}")}
        (label,) = labels - {REAL, LEAKS}
        sources: dict[str, Source] = {REAL: real, label: release}
        measured = {
            name: Measured(rows=(rows := read_parts(report, name, len(one.items))), pairs=rows[:0])
            for name, one in sources.items()
        }
        leaks = PlantedLeaks.of(real, cohort.grid.spacing)
        assert leaks is not None
        return cls(
            folds=Matched.read(report, sources, leaks).folds(measured, label),
            patterns=people_patterns(report, real, measured[REAL].rows, cohort.grid),
            real=real,
            grid=cohort.grid,
        )

    def mixed(
        self, leaks: Matches, hidden: int, count: int, rng: np.random.Generator, *, planted: bool
    ) -> Audit:
        """The audit of `count` volumes of the release, `hidden` of them leaks."""
        made = self.folds.synthetic
        parts = [drawn(made, count - hidden, rng), drawn(leaks, hidden, rng)]
        synthetic = Matches.joined([part for part in parts if len(part.people)])
        known = {} if planted else {"planted": {}, "planted_of": {}}
        return audit(replace(self.folds, synthetic=synthetic, **known), level=ONE_SPACE)

    def innocent(self, seeds: int) -> None:
        """Real people as a release, split anew each time: 85 to train on, 30 held out."""
        real, found = self.folds.real, []
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(real.people))
            people, others = np.sort(order[:115]), order[115:]
            trained = np.isin(people, order[:85])

            def among(rows: np.ndarray, columns: np.ndarray = people) -> Matches:
                distances = real.distances[np.ix_(rows, columns)]
                return Matches(people=np.tile(np.arange(115), (len(rows), 1)), distances=distances)

            persons = tuple(self.folds.persons[person] for person in people)
            split = Folds(
                persons=persons,
                trained=trained,
                synthetic=among(others),
                real=among(people),
                shown=persons,
                planted={},
                planted_of={},
            )
            found.append(audit(split, level=ONE_SPACE))
        print(f"\n| real people as a release | fail | {' | '.join(RULES)} |")
        print(f"|---|---|{'---|' * len(RULES)}")
        print(f"| {seeds} splits | {failures(found)} |", flush=True)

    def power(self) -> None:
        """Which releases with leaks of the audit's own makes fail."""
        shares = " | ".join(f"{share:.0%}" for share in SHARES)
        print(f"\n| planted leaks | volumes | {shares} | source found |\n|{'---|' * 8}")
        for make in MAKES:
            source = self.folds.found_source(make, self.folds.leaks(make))
            for count in VOLUMES:
                cells = []
                for share in SHARES:
                    hidden = max(1, round(share * count))
                    failed = 0
                    for seed in range(TRIES):
                        rng = np.random.default_rng(seed)
                        leaks = self.folds.planted[make]
                        one = self.mixed(leaks, hidden, count, rng, planted=False)
                        failed += one.verdict == FAILED
                    cells.append(f"{failed / TRIES:.0%}")
                print(f"| {make} | {count:,} | {' | '.join(cells)} | {source:.0%} |", flush=True)

    def conclusive(self) -> None:
        """From how many volumes on a release without leaks passes."""
        print("\n| volumes | verdict | a twentieth of the hardest make caught |\n|---|---|---|")
        rng = np.random.default_rng(0)
        for count in (20, 50, 100, 150, 200, 300, 1000):
            found = self.mixed(self.folds.synthetic, 0, count, rng, planted=True)
            assert found.power is not None
            least = min(one[SHARES.index(WANTED)] for one in found.power.caught.values())
            print(f"| {count:,} | {found.verdict} | {least:.0%} |", flush=True)

    def others(self) -> None:
        """Which verdicts releases with other leaks get."""
        matcher = Matcher(self.patterns)
        names = [f"{hidden} of {count}" for hidden, count in HIDDEN]
        print(f"\n| other leaks | {' | '.join(names)} | source found |\n|{'---|' * 5}")
        nobody = [self.verdicts(self.folds.synthetic, 0, count) for _, count in HIDDEN]
        print(f"| none | {' | '.join(nobody)} | |", flush=True)
        places = [place for place, item in enumerate(self.real.items) if item["group"] == TRAIN]
        places = places[:: len(places) // EACH][:EACH]
        of = [self.real.items[place]["name"] for place in places]
        for make, volumes in self.leaks(places):
            found = matcher(np.stack([pattern(v, self.grid.spacing) for v in volumes]))
            folds = replace(
                self.folds, planted={make: found}, planted_of={make: [(n,) for n in of]}
            )
            source = folds.found_source(make, folds.leaks(make))
            cells = [self.verdicts(found, hidden, count) for hidden, count in HIDDEN]
            print(f"| {make} | {' | '.join(cells)} | {source:.0%} |", flush=True)

    def leaks(self, places: list[int]) -> list[tuple[str, list[np.ndarray]]]:
        """Leaks of makes that the audit does not plant, of training subjects."""
        model, spacing, segmenter = ldm.load("demo"), self.grid.spacing, load_segmenter()
        volumes = [self.real.read(self.real.items[place]) for place in places]
        bent = []
        for copy, volume in enumerate(volumes):
            shares = segmenter.segment(volume, self.grid.affine).shares_on(
                volume.shape, self.grid.affine
            )
            bent.append(deformed(volume, shares, spacing, seed=places[copy], copy=copy).volume)

        def smooth(bend: float) -> list[np.ndarray]:
            rng = noise.generator(noise.EVALUATION, 99, int(10 * bend))
            return [displaced(volume, spacing, rng, bend=bend) for volume in volumes]

        def decoded(some: list[np.ndarray]) -> list[np.ndarray]:
            return [model.reconstruct(volume[None])[0] for volume in some]

        three = smooth(3.0)
        return [
            ("as they are, decoded", decoded(volumes)),
            ("bent as for training", bent),
            ("the same, decoded", decoded(bent)),
            ("bent by 3 mm, decoded", decoded(three)),
            (
                "bent by 3 mm, blurred by sd 2.5 mm",
                [gaussian_filter(v, 2.5 / spacing) for v in three],
            ),
            ("bent by 4.5 mm", smooth(4.5)),
        ]

    def verdicts(self, leaks: Matches, hidden: int, count: int) -> str:
        """Of `TRIES` releases, as `failed 18, inconclusive 2`."""
        rngs = map(np.random.default_rng, range(TRIES))
        found = Counter(self.mixed(leaks, hidden, count, rng, planted=True).verdict for rng in rngs)
        return ", ".join(f"{name} {number}" for name, number in sorted(found.items()))

    def costs(self) -> None:
        """Seconds a volume on one core."""
        print("\n| people | matched with | at once | s a volume |\n|---|---|---|---|")
        some = self.patterns[:32]
        many = np.concatenate([self.patterns, self.patterns[:, ::-1], self.patterns[:, :, ::-1]])
        for people in (self.patterns[:64], self.patterns, many):
            matcher = Matcher(people)
            with_whom = CANDIDATES if len(people) > 2 * CANDIDATES else len(people)
            for at_once in (1, 32):
                begun = time.process_time()
                matcher(some[:at_once])
                seconds = (time.process_time() - begun) / at_once
                print(f"| {len(people)} | {with_whom} | {at_once} | {seconds:.2f} |", flush=True)
                if len(people) > 2 * CANDIDATES and at_once == 1:
                    alone = seconds
        # Among so many people the candidates of two volumes are seldom the same: as one at a time.
        volumes, people = LARGE
        hours = volumes * alone / 3600
        print(f"{volumes:,} volumes against {people:,} people: {hours:,.0f} core hours", flush=True)


def drawn(matches: Matches, count: int, rng: np.random.Generator) -> Matches:
    """`count` of them, each once where there are enough."""
    rows = rng.choice(len(matches.people), count, replace=count > len(matches.people))
    return Matches(people=matches.people[rows], distances=matches.distances[rows])


if __name__ == "__main__":
    main()
