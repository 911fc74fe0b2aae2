"""How good the measuring tools are, on subjects that none of them was trained on.

    python -m tests.benchmarks.segmenter --bids COHORT [--registered COHORT2] [--atlas 12]

COHORT/derivatives holds MUSE label maps (*_dseg.nii.gz) and participants.tsv ages and sexes.
COHORT2 is the same cohort with affines into MNI space, as the demo model was trained on. Every
figure has its 95 % bootstrap interval over subjects. Prints Markdown; --json writes the figures.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

import ldm
from ldm.anatomy import labels
from ldm.anatomy.labels import dice
from ldm.evaluation.conditioning import relation
from ldm.evaluation.statistics.intervals import Estimate, bootstrap, proportion
from ldm.measuring import measure
from ldm.measuring.box import SPACING
from ldm.measuring.fitting.subjects import UNSEEN, real_scans, real_subjects, virtual_subjects
from ldm.measuring.people import PeopleTool, load_people
from ldm.measuring.segmenter import Segmentation, Segmenter, load_segmenter
from ldm.models.latent_diffusion import Model
from ldm.split import held_out
from ldm.volumes.conversion import read_image, to_grid
from ldm.volumes.grid import Grid

DEMO_GRID = Grid(shape=(64, 80, 64), spacing=2.5)
STRUCTURES = {
    "lateral ventricles": (labels.VENTRICLE, "ventricular_volume"),
    "grey matter": (labels.GREY, "grey_volume"),
    "white matter": (labels.WHITE, "white_volume"),
    "brain stem": (labels.STEM, "brain_stem_volume"),
    "CSF": (labels.CSF, "csf_volume"),
}
SUMS = {"brain": "brain_volume", "intracranial": "intracranial_volume"}
MODEL_SHARE = 0.1  # of the subjects, held out from the training of models
Rows = dict[str, dict[str, Estimate]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bids", type=Path, required=True)
    parser.add_argument("--registered", type=Path)
    parser.add_argument("--segmenter", type=Path)
    parser.add_argument("--people", type=Path)
    parser.add_argument("--model", help="measure what its autoencoder makes of unseen subjects")
    parser.add_argument("--virtual", type=int, default=20)
    parser.add_argument("--atlas", type=int, default=0, help="unseen subjects for the atlas too")
    parser.add_argument("--subjects", type=int, help="the first unseen subjects only")
    parser.add_argument("--no-people", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(2)
    segmenter = load_segmenter(args.segmenter)
    people = None if args.no_people else load_people(args.people)
    told: dict[str, Any] = {}

    conditions = [
        ("real, as scanned, 2 mm", native(segmenter, args)),
        ("real, on the demo model's grid, 2.5 mm", demo_grid(segmenter, args)),
        ("virtual, 2 mm", virtual(segmenter, args.virtual)),
    ]
    if args.registered and args.model:
        title = f"real, through the autoencoder of {args.model}, 2.5 mm"
        conditions.append((title, decoded(segmenter, args)))
    for title, found in conditions:
        told[title] = show(title, structures(found))
    if args.atlas:
        told["engines"] = engines(args, segmenter)
    if people:
        for title, bids in (("as scanned", args.bids), ("registered to MNI", args.registered)):
            if bids:
                told[f"people, {title}"] = persons(people, segmenter, bids, title, args.subjects)
    told["seconds a volume"] = seconds(segmenter, args.bids)
    if args.json:
        args.json.write_text(json.dumps(told, indent=1) + "\n")


Found = tuple[dict[int, float], dict[str, float], dict[str, float]]


def native(segmenter: Segmenter, args: argparse.Namespace) -> Iterator[Found]:
    """Dice, volumes found and volumes known of each unseen real subject, on its own lattice."""
    for number, subject in enumerate(real_subjects(args.bids, UNSEEN)):
        if number == args.subjects:
            return
        yield judged(segmenter.segment(subject.box.voxels, subject.box.affine), subject.labels)


def demo_grid(segmenter: Segmenter, args: argparse.Namespace) -> Iterator[Found]:
    """The same of the images resampled as `prepare` does; known on the lattice of the scan."""
    for number, subject in enumerate(real_subjects(args.bids, UNSEEN)):
        if number == args.subjects:
            return
        affine = subject.box.affine.copy()
        middle = affine @ [*((np.array(subject.labels.shape) - 1) / 2), 1]
        affine[:3, 3] += np.array(DEMO_GRID.centre) - middle[:3]
        volume = to_grid(subject.box.voxels, affine, DEMO_GRID, placement="affine")
        found = segmenter.segment(volume, DEMO_GRID.affine)
        yield judged(found, subject.labels, found.labels_on(subject.labels.shape, affine))


def decoded(segmenter: Segmenter, args: argparse.Namespace) -> Iterator[Found]:
    """The same of what a model's autoencoder makes of subjects that neither it nor the segmenter
    was trained on, registered as those it was trained on."""
    model = ldm.load(args.model)
    if not isinstance(model, Model):
        raise SystemExit(f"{args.model} has no autoencoder")
    places = {
        row["participant_id"]: affine for row, _, affine in real_scans(args.registered, UNSEEN)
    }
    for row, data, _ in real_scans(args.bids, UNSEEN):
        name = str(row["participant_id"])
        if not held_out(name, MODEL_SHARE):
            continue
        muse = read_image(next((args.bids / "derivatives").glob(f"**/{name}*_dseg.nii.gz")))[0]
        volume = to_grid(data, places[name], model.grid, placement="affine", order=3)
        made = np.clip(model.reconstruct(volume[None])[0], 0, 1)
        found = segmenter.segment(made, model.grid.affine)
        yield judged(
            found,
            labels.from_muse(muse.astype(np.uint8)),
            found.labels_on(muse.shape, places[name]),
        )


def virtual(segmenter: Segmenter, count: int) -> Iterator[Found]:
    """The same of virtual subjects, whose labels are the truth; their brain stem is white."""
    for subject in virtual_subjects(UNSEEN, count):
        found = segmenter.segment(subject.box.voxels, subject.box.affine)
        seen = np.where(found.labels == labels.STEM, labels.WHITE, found.labels)
        overlap, volumes, known = judged(found, subject.labels, seen)
        del overlap[labels.STEM]
        volumes["white_volume"] += volumes.pop("brain_stem_volume")
        yield overlap, volumes, known


def judged(found: Segmentation, known: np.ndarray, seen: np.ndarray | None = None) -> Found:
    """Dice by structure of `seen` (by default what was found in the box), and the volumes."""
    if seen is None:
        seen = found.labels
    overlap = {structure: dice(seen, known, structure) for structure, _ in STRUCTURES.values()}
    counts = np.bincount(known.ravel(), minlength=labels.COUNT)
    return overlap, found.volumes(), labels.volumes(counts, SPACING**3)


def structures(found: Iterator[Found]) -> Rows:
    """The figures of every structure, over subjects."""
    every = list(found)
    rows: Rows = {}
    for name, (structure, volume) in STRUCTURES.items():
        if structure in every[0][0]:
            overlap = np.array([each[0][structure] for each in every])
            rows[name] = {"Dice": bootstrap(np.mean, overlap), **volumetric(every, volume)}
    return rows | {name: volumetric(every, volume) for name, volume in SUMS.items()}


def volumetric(every: list[Found], name: str) -> dict[str, Estimate]:
    seen = np.array([each[1][name] for each in every]) / 1000
    known = np.array([each[2][name] for each in every]) / 1000
    found = relation(known, seen)
    error = bootstrap(lambda a, b: float(100 * np.abs(a / b - 1).mean()), seen, known)
    return {"r": found.r, "slope": found.slope, "bias, mL": found.bias, "error, %": error}


def show(title: str, rows: Rows) -> dict[str, Any]:
    columns = list(next(iter(rows.values())))
    count = next(iter(rows.values()))["r"].n
    print(f"\n{title}, n = {count}\n\n| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, figures in rows.items():
        cells = [told(figures[column]) if column in figures else "" for column in columns]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return {name: {k: v.to_json() for k, v in row.items()} for name, row in rows.items()}


def told(figure: Estimate) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def engines(args: argparse.Namespace, segmenter: Segmenter) -> dict[str, Any]:
    """The atlas and the segmenter on the same unseen subjects, against the label maps' volumes."""
    every: dict[str, list[Found]] = {"segmenter": [], "atlas": []}
    for number, subject in enumerate(real_subjects(args.bids, UNSEEN)):
        if number == args.atlas:
            break
        counts = np.bincount(subject.labels.ravel(), minlength=labels.COUNT)
        known = labels.volumes(counts, SPACING**3)
        image = nib.Nifti1Image(subject.box.voxels, subject.box.affine)
        every["atlas"].append(({}, measure(image, "atlas"), known))
        every["segmenter"].append(
            ({}, segmenter.measure(subject.box.voxels, subject.box.affine), known)
        )
    rows = {
        f"{what}, {engine}": volumetric(found, name)
        for what, name in (("ventricles", "ventricular_volume"), ("brain", "brain_volume"))
        for engine, found in every.items()
    }
    return show("engines", rows)


def persons(
    people: PeopleTool, segmenter: Segmenter, bids: Path, title: str, most: int | None
) -> dict[str, Any]:
    """Age and sex of unseen subjects, beside what guessing without the image would do."""
    age, seen, male, right = [], [], [], []
    for number, (row, data, affine) in enumerate(real_scans(bids, UNSEEN)):
        if number == most:
            break
        person = people.judge(segmenter.segment(data, affine))
        age.append(float(row["age"]))
        seen.append(person.age)
        male.append(row["sex"] == "M")
        right.append(person.sex == row["sex"])
    ages, found = np.array(age), np.array(seen)
    relates = relation(ages, found)
    figures = {
        "age, mean absolute error, years": relates.error,
        "age, r": relates.r,
        "age, slope": relates.slope,
        "age, bias, years": relates.bias,
        "sex, share right": proportion(sum(right), len(right)),
    }
    print(f"\nage and sex, {title}, n = {len(ages)}\n\n| | |\n|---|---|")
    for name, figure in figures.items():
        print(f"| {name} | {told(figure)} |")
    blind = float(np.abs(ages - ages.mean()).mean())
    print(f"| always their mean age: error, years | {blind:.3f} |")
    print(f"| always the commoner sex: share right | {max(np.mean(male), 1 - np.mean(male)):.3f} |")
    return {name: figure.to_json() for name, figure in figures.items()}


def seconds(segmenter: Segmenter, bids: Path) -> dict[str, float]:
    """The best of five, the image in memory, on one core and on two."""
    _, data, affine = next(real_scans(bids, UNSEEN))
    found = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            segmenter.measure(data, affine)
            times.append(time.perf_counter() - begun)
        found[f"{threads} core"] = round(min(times), 2)
        print(f"seconds a volume, {threads} core{'s' * (threads > 1)}: {min(times):.2f}")
    return found


if __name__ == "__main__":
    main()
