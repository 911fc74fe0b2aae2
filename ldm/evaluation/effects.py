"""Whether age and sex change each region of synthetic brains as they change real ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ldm import noise
from ldm.errors import LdmError
from ldm.evaluation.statistics import checks
from ldm.evaluation.statistics.intervals import Estimate

FEWEST = 20  # people: five for each coefficient
AGE, SEX = "age", "sex"
_TAILS = (0.025, 0.975)
_DECADE = 10.0  # years


@dataclass(frozen=True, kw_only=True)
class Set:
    """Brains whose regions were measured.

    Attributes:
        volumes: (N,) of each region, any one unit.
        age: (N,) years; of synthetic ones as asked. male: (N,) 1 for M, 0 for F.
        head: (N,) intracranial volume as measured, any one unit.
    """

    volumes: Mapping[str, ArrayLike]
    age: ArrayLike
    male: ArrayLike
    head: ArrayLike


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What age and sex do to each region, real and synthetic.

    Attributes:
        real, synthetic: by region, then by `AGE`, per cent of the region's mean volume a decade,
            and `SEX`, how much larger a man's is than a woman's of the same age and head, in
            standard deviations of the real people's residuals (Cohen's d).
        agreement: by `AGE` and `SEX`, Lin's concordance of synthetic with real effects over all
            regions: 1 is equal.
        halves: the same of one random half of the real people with the other: the mean, and the
            2.5 and 97.5 percentiles over splits, `n` people a half.
    """

    real: Mapping[str, Mapping[str, Estimate]]
    synthetic: Mapping[str, Mapping[str, Estimate]]
    agreement: Mapping[str, Estimate]
    halves: Mapping[str, Estimate]

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        return {
            "regions": {
                name: {
                    what: {
                        "real": self.real[name][what].to_json(),
                        "synthetic": self.synthetic[name][what].to_json(),
                    }
                    for what in (AGE, SEX)
                }
                for name in self.real
            },
            "agreement": {what: one.to_json() for what, one in self.agreement.items()},
            "halves": {what: one.to_json() for what, one in self.halves.items()},
        }


def effects(
    real: Set, synthetic: Set, *, draws: int = 1000, splits: int = 200, seed: int = 0
) -> Effects:
    """Effects of age and sex on regional volumes, by a linear model with the head's size.

    volume = constant + age + sex + intracranial volume, fitted to each set by itself. Intervals are
    the percentiles of a bootstrap over people, all regions drawn together; of the agreement (Lin
    1989, Biometrics 45:255) over both sets.

    Raises:
        LdmError: other regions, fewer than 20 people, columns of different lengths or not finite,
            or people of one age, one sex or one size of head.
    """
    if set(real.volumes) != set(synthetic.volumes) or not real.volumes:
        differing = ", ".join(sorted(set(real.volumes) ^ set(synthetic.volumes)))
        raise LdmError(
            f"regions {differing[:100] or 'none'}: expected the same ones, real and synthetic"
        )
    names = list(real.volumes)
    v, x = _columns(real, names, "real")
    w, z = _columns(synthetic, names, "synthetic")
    spread = _spread(v, x)
    found = _fit(v, x, spread), _fit(w, z, spread)
    rng = noise.generator(noise.EVALUATION, seed, len(v), len(w))
    drawn = np.stack([[_drawn(v, x, spread, rng), _drawn(w, z, spread, rng)] for _ in range(draws)])
    halves = np.stack([_halves(v, x, spread, rng) for _ in range(splits)])
    agreed = np.array([concordance(*pair) for pair in zip(*found, strict=True)])
    resampled = np.array([[concordance(*pair) for pair in zip(*d, strict=True)] for d in drawn])
    return Effects(
        real=_named(names, found[0], drawn[:, 0], len(v)),
        synthetic=_named(names, found[1], drawn[:, 1], len(w)),
        agreement=_figures(agreed, resampled, len(w), len(v)),
        halves=_figures(halves.mean(axis=0), halves, len(v) // 2),
    )


def concordance(x: np.ndarray, y: np.ndarray) -> float:
    """Lin's concordance correlation of two (R,) columns: 1 where they are equal."""
    tie = float(((x - x.mean()) * (y - y.mean())).mean())
    apart = float((x.mean() - y.mean()) ** 2)
    return 2 * tie / (float(x.var()) + float(y.var()) + apart)


def _columns(found: Set, names: list[str], which: str) -> tuple[np.ndarray, np.ndarray]:
    """Volumes (N, R) and design (N, 4): a constant, decades, male, and the head's size."""
    known = {"age": found.age, "sex": found.male, "head size": found.head}
    columns = {
        name: checks.vector(values, f"{which} {name}", at_least=FEWEST)
        for name, values in known.items()
    }
    volumes = [checks.vector(found.volumes[name], f"{which} {name}") for name in names]
    checks.same_length(*columns.items(), *zip(names, volumes, strict=True))
    for name, values in columns.items():
        if np.ptp(values) == 0:
            raise LdmError(f"{which} {name}: all have {values[0]:g}; expected people who differ")
    age, male, head = columns.values()
    design = [np.ones(len(age)), age / _DECADE, male, (head - head.mean()) / head.std()]
    return np.column_stack(volumes), np.column_stack(design)


def _fit(v: np.ndarray, x: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(2, R): per cent a decade, and the difference of the sexes over `spread` (R,)."""
    weights, *_ = np.linalg.lstsq(x, v, rcond=None)
    return np.stack([100 * weights[1] / v.mean(axis=0), weights[2] / spread])


def _spread(v: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Standard deviations (R,) of what the model leaves."""
    weights, *_ = np.linalg.lstsq(x, v, rcond=None)
    rest = v - x @ weights
    found: np.ndarray = np.sqrt((rest**2).sum(axis=0) / (len(v) - x.shape[1]))
    if not found.all() or not v.mean(axis=0).all():
        raise LdmError("a region that no real brain has, or that age, sex and head size tell whole")
    return found


def _drawn(
    v: np.ndarray, x: np.ndarray, spread: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    chosen = rng.integers(len(v), size=len(v))
    return _fit(v[chosen], x[chosen], spread)


def _halves(
    v: np.ndarray, x: np.ndarray, spread: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(2,): how well the effects in two random halves agree."""
    order = rng.permutation(len(v))
    one, other = (_fit(v[part], x[part], spread) for part in (order[::2], order[1::2]))
    return np.array([concordance(*pair) for pair in zip(one, other, strict=True)])


def _named(
    names: list[str], found: np.ndarray, drawn: np.ndarray, n: int
) -> dict[str, dict[str, Estimate]]:
    return {
        name: _figures(found[:, place], drawn[:, :, place], n) for place, name in enumerate(names)
    }


def _figures(
    found: np.ndarray, drawn: np.ndarray, n: int, n_reference: int | None = None
) -> dict[str, Estimate]:
    """Of (2,) values and (draws, 2) draws."""
    low, high = np.nanquantile(drawn, _TAILS, axis=0)
    return {
        what: Estimate(
            value=float(found[k]),
            low=float(low[k]),
            high=float(high[k]),
            n=n,
            n_reference=n_reference,
        )
        for k, what in enumerate((AGE, SEX))
    }
