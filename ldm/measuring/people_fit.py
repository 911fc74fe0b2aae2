"""Fitting the age and sex regressions: predictors of turned copies, choice by cross-validation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ldm import noise
from ldm.measuring.fitting.subjects import TRAIN, real_scans
from ldm.measuring.people import (
    ENCODER,
    GROUPS,
    MAPS,
    PREDICTORS,
    VOLUMES,
    predictors,
    write_people,
)
from ldm.measuring.segmenter import WEIGHTS, Segmenter, load_segmenter
from ldm.volumes.conversion import to_grid
from ldm.volumes.grid import Grid
from ldm.volumes.resampling import rotation

COPIES = 3  # of a subject: as it is, turned, and turned on the demo model's grid
FOLDS = 10
CHOICES = ((VOLUMES,), (ENCODER,), (MAPS,), (VOLUMES, ENCODER), (VOLUMES, MAPS),
           (VOLUMES, ENCODER, MAPS))  # fmt: skip
PENALTIES = tuple(10.0**power for power in np.arange(-3, 3.1, 0.5))
_TURN = np.array([15.0, 5.0, 5.0])  # degrees at most
_GRID = Grid(shape=(64, 80, 64), spacing=2.5)  # of volumes as the demo model makes them


def fit_people(
    bids: Path,
    out: Path,
    segmenter_folder: Path | None,
    seed: int,
    *,
    command: str,
    tell: Callable[[str], object],
) -> None:
    """Fit both regressions to a cohort and write `out`/tool.

    Args:
        bids: a cohort, see `real_scans`; those held out are not read.
        segmenter_folder: its folder; None is the shipped one.
        command: that does this again, for the tool's card.
        tell: takes a line about each choice.

    Raises:
        LdmError: no such cohort or segmenter, or an image that cannot be segmented.
    """
    segmenter = load_segmenter(segmenter_folder)
    table = gather(bids, segmenter, out / "predictors", seed)
    tensors: dict[str, np.ndarray] = {}
    document: dict[str, Any] = {"groups": {}, "penalty": {}, "cross_validation": {}}
    for what in ("age", "sex"):
        chosen, penalty, tried = choose(table, what)
        mean, std, weights = fit(_columns(table, chosen), table[what], penalty, what)
        tensors |= {f"{what}_mean": mean, f"{what}_std": std, what: weights}
        document["groups"][what], document["penalty"][what] = list(chosen), penalty
        document["cross_validation"][what] = tried
        tell(f"{what}: {' + '.join(chosen)}, penalty {penalty:g}")
        for line in tried:
            tell(f"   {json.dumps(line)}")
    document["segmenter"] = segmenter.document["files"][WEIGHTS]
    document["card"] = {
        **{k: v for k, v in segmenter.document["card"].items() if k != "training"},
        "training": {
            "command": command,
            "subjects": len(set(table["name"])),
            "copies": COPIES,
            "seed": seed,
        },
    }
    write_people(out / "tool", tensors, document)
    tell(f"{out / 'tool'}: {len(set(table['name']))} subjects")


def gather(bids: Path, segmenter: Segmenter, kept: Path, seed: int) -> dict[str, np.ndarray]:
    """The predictors of every copy of every subject of the training split, with age, sex (M = 1)
    and name; a subject's are kept in a file, for the next run of the command."""
    kept.mkdir(parents=True, exist_ok=True)
    weights = segmenter.document["files"][WEIGHTS]["sha256"]
    state = json.dumps([weights, seed, COPIES, PREDICTORS])
    digest = hashlib.sha256(state.encode()).hexdigest()[:12]
    columns: dict[str, list[Any]] = {name: [] for name in ("name", "age", "sex", *GROUPS)}
    for number, (row, data, affine) in enumerate(real_scans(bids, TRAIN)):
        path = kept / f"{row['participant_id']}-{digest}.npz"
        if path.is_file():
            with np.load(path) as stored:
                found = {group: stored[group] for group in GROUPS}
        else:
            rows = [
                predictors(segmenter.segment(*another(data, affine, seed, number, copy)))
                for copy in range(COPIES)
            ]
            found = {group: np.stack([each[group] for each in rows]) for group in GROUPS}
            side = path.with_name(f".{path.name}")
            np.savez(side, **found)
            side.replace(path)
        columns["name"] += [row["participant_id"]] * COPIES
        columns["age"] += [float(row["age"])] * COPIES
        columns["sex"] += [float(row["sex"] == "M")] * COPIES
        for group in GROUPS:
            columns[group] += list(found[group])
    return {name: np.array(values) for name, values in columns.items()}


def another(
    data: np.ndarray, affine: np.ndarray, seed: int, number: int, copy: int
) -> tuple[np.ndarray, np.ndarray]:
    """Copy `copy` of a scan: 0 itself, the others turned, every other one on the demo's grid."""
    if not copy:
        return data, affine
    rng = noise.generator(noise.AUGMENT, seed, number, copy)
    turn = np.eye(4)
    turn[:3, :3] = rotation(np.deg2rad(rng.uniform(-_TURN, _TURN)))
    turned = turn @ affine
    if copy % 2:
        return data, turned
    middle = turned @ [*((np.array(data.shape) - 1) / 2), 1]
    turned[:3, 3] += np.array(_GRID.centre) - middle[:3]
    return to_grid(data, turned, _GRID, placement="affine"), _GRID.affine


def choose(
    table: dict[str, np.ndarray], what: str
) -> tuple[tuple[str, ...], float, list[dict[str, Any]]]:
    """The groups of predictors and the penalty of the least cross-validated error, and the error
    of every choice of groups: years, or the share that is classified wrongly."""
    names = sorted(set(table["name"]))
    order = noise.generator(noise.ORDER, 0, len(names)).permutation(len(names))
    fold_of = {names[place]: position % FOLDS for position, place in enumerate(order)}
    folds = np.array([fold_of[name] for name in table["name"]])
    tried = []
    best: tuple[float, float, tuple[str, ...], float] = (np.inf, np.inf, (VOLUMES,), 1.0)
    for groups in CHOICES:
        values = _columns(table, groups)
        scores = [(*_error(values, table[what], folds, p, what), p) for p in PENALTIES]
        error, loss, penalty = min(scores, key=lambda score: score[1])
        name = "mean_error_years" if what == "age" else "error_rate"
        tried.append({"predictors": " + ".join(groups), name: round(error, 3), "penalty": penalty})
        best = min(best, (loss, error, groups, penalty))
    return best[2], float(best[3]), tried


def _error(
    values: np.ndarray, wanted: np.ndarray, folds: np.ndarray, penalty: float, what: str
) -> tuple[float, float]:
    """The error that is told and the one that is minimised, over subjects left out."""
    found = np.empty(len(wanted))
    for fold in range(FOLDS):
        out = folds == fold
        mean, std, weights = fit(values[~out], wanted[~out], penalty, what)
        found[out] = (values[out] - mean) / std @ weights[:-1] + weights[-1]
    if what == "age":
        error = float(np.abs(found - wanted).mean())
        return error, error
    loss = float(np.logaddexp(0, -(2 * wanted - 1) * found).mean())
    return float(((found > 0) != (wanted > 0.5)).mean()), loss


def fit(
    values: np.ndarray, wanted: np.ndarray, penalty: float, what: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and std of the predictors, and the coefficients with the constant last.

    Ridge for age, logistic for sex; a predictor counts by one over the root of their number, so
    that one penalty means alike for few and many.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    mean = values.mean(axis=0)
    std = np.maximum(values.std(axis=0), 1e-6) * np.sqrt(values.shape[1])
    scaled = (values - mean) / std
    model: Any
    if what == "age":
        model = Ridge(alpha=penalty, solver="cholesky").fit(scaled, wanted)
        return mean, std, np.append(model.coef_, model.intercept_)
    # Through the kernel's eigenvectors: as exact, and fast where predictors are many.
    u, s, vt = np.linalg.svd(scaled, full_matrices=False)
    keep = s > 1e-8 * s[0]
    model = LogisticRegression(C=1 / penalty, max_iter=2000).fit((u * s)[:, keep], wanted > 0.5)
    return mean, std, np.append(model.coef_[0] @ vt[keep], model.intercept_[0])


def _columns(table: dict[str, np.ndarray], groups: tuple[str, ...]) -> np.ndarray:
    """The predictors of `groups`, side by side."""
    return np.concatenate([table[group] for group in groups], axis=1)
