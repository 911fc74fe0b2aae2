"""The virtual cohort on disk: a BIDS folder, written atomically and taken up where it stopped."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ldm.anatomy.virtual.subject import (
    MEAN_INTRACRANIAL,
    Subject,
    make_subject,
    plan_subject,
    true_volumes,
)
from ldm.contrasts import T1W
from ldm.errors import LdmError
from ldm.volumes.grid import Grid

__all__ = ["Subject", "make_subject", "write_bids_cohort"]

_LEVELS = ("background", "cerebrospinal fluid", "grey matter", "white matter", "lateral ventricle")


def write_bids_cohort(
    folder: str | Path,
    n: int,
    seed: int,
    grid: Grid,
    *,
    suffixes: Sequence[str] = (T1W,),
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write subjects sub-V0001 to sub-V<n> with their label maps and a participants.tsv.

    The same command goes on where it was stopped, and adds subjects when `n` is larger: subject
    i is a function of (seed, i). `participants.tsv` is written last.

    Args:
        folder: made if it is missing.
        n: subjects.
        seed: the cohort's.
        grid: where the images are sampled.
        suffixes: the contrasts that everybody is scanned with.
        progress: called with the subjects done and `n` after each.

    Returns:
        The folder.

    Raises:
        LdmError: n below 1; the folder holds another cohort, or a larger one; it cannot be
            written; nilearn is not installed.
    """
    folder = Path(folder)
    if n < 1:
        raise LdmError(f"a virtual cohort of {n} subjects: expected at least 1")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made_by: dict[str, Any] = {"seed": seed, "grid": grid.to_json()}
        if tuple(suffixes) != (T1W,):
            made_by["suffixes"] = list(suffixes)
        _claim(folder, made_by)
        if (folder / f"sub-{_label(n + 1)}").exists():
            raise LdmError(f"{folder} holds more than {n} virtual subjects: give another folder")
        rows = []
        for number in range(1, n + 1):
            rows.append(_write_subject(folder, number, seed, grid, suffixes))
            if progress:
                progress(number, n)
        _write_json(folder / "participants.json", _columns())
        _write(folder / "participants.tsv", _table(rows).encode())
    except OSError as error:
        raise LdmError(f"virtual cohort {folder}: cannot write there ({error.strerror})") from None
    return folder


def _label(number: int) -> str:
    return f"V{number:04d}"


def _claim(folder: Path, made_by: dict[str, Any]) -> None:
    """Say what the folder holds, or check that it holds the same."""
    description = folder / "dataset_description.json"
    if description.exists():
        try:
            found = json.loads(description.read_text())["GeneratedBy"][0]["Parameters"]
        except (ValueError, KeyError, IndexError, TypeError):
            raise LdmError(f"{folder} holds another dataset: give an empty folder") from None
        if found != made_by:
            raise LdmError(
                f"{folder} holds the virtual cohort of {_told(found)}, and {_told(made_by)} was "
                "asked: give another folder"
            )
    for path, kind in ((folder, "raw"), (folder / "derivatives" / "truth", "derivative")):
        if not (path / "dataset_description.json").exists():
            _write_json(path / "dataset_description.json", _description(kind, made_by))
    labels = "".join(f"{index}\t{name}\n" for index, name in enumerate(_LEVELS))
    _write(folder / "derivatives" / "truth" / "dseg.tsv", f"index\tname\n{labels}".encode())
    _write(folder / "README.md", _README.encode())
    _write(folder / "LICENSE", _LICENSE.encode())


def _told(made_by: dict[str, Any]) -> str:
    grid = made_by.get("grid", {})
    suffixes = "".join(f", {suffix}" for suffix in made_by.get("suffixes", ()))
    return f"seed {made_by.get('seed')} at {grid.get('shape')} x {grid.get('spacing')} mm{suffixes}"


def _write_subject(
    folder: Path, number: int, seed: int, grid: Grid, suffixes: Sequence[str]
) -> dict[str, Any]:
    """One row of the table; the files are made unless all are there (label map last)."""
    label = _label(number)
    anat = Path(f"sub-{label}") / "anat"
    images = {suffix: folder / anat / f"sub-{label}_{suffix}.nii.gz" for suffix in suffixes}
    labels = folder / "derivatives" / "truth" / anat / f"sub-{label}_dseg.nii.gz"
    key = (seed, number)
    if not all(path.exists() for path in (*images.values(), labels)):
        subject = make_subject(key, grid, suffixes)
        for suffix, path in images.items():
            _write(path, _nifti_bytes(subject.images[suffix]))
        _write(labels, _nifti_bytes(subject.labels))
    counted = np.asarray(nib.load(labels).dataobj).astype(np.uint8)  # type: ignore[attr-defined]
    plan = plan_subject(np.random.default_rng(key))
    volumes = true_volumes(counted, grid.voxel_volume)
    return {"participant_id": f"sub-{label}", "age": plan.age, "sex": plan.sex, **volumes}


def _nifti_bytes(image: nib.Nifti1Image) -> bytes:
    return gzip.compress(image.to_bytes(), compresslevel=4, mtime=0)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    _write(path, (json.dumps(document, indent=2) + "\n").encode())


def _write(path: Path, data: bytes) -> None:
    """All of the file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    side = path.with_name(f".{path.name}.{os.getpid()}")
    side.write_bytes(data)
    side.replace(path)


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["\t".join(rows[0])]
    lines += ["\t".join(_cell(value) for value in row.values()) for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _description(kind: str, made_by: dict[str, Any]) -> dict[str, Any]:
    return {
        "Name": "Virtual cohort" + (": true label maps" if kind == "derivative" else ""),
        "BIDSVersion": "1.10.0",
        "DatasetType": kind,
        "License": "ICBM 152 (free use with the copyright notice in LICENSE)",
        "Authors": ["brainpress"],
        "GeneratedBy": [{"Name": "brainpress virtual cohort", "Parameters": made_by}],
        "SourceDatasets": [{"URL": "https://nist.mni.mcgill.ca/icbm-152-nonlinear-atlases-2009/"}],
    }


def _columns() -> dict[str, Any]:
    return {
        "age": {"Description": "age", "Units": "year"},
        "sex": {"Description": "sex", "Levels": {"F": "female", "M": "male"}},
        "ventricular_volume": {
            "Description": "lateral ventricles, counted from the label map, not normalised",
            "Units": "mm3",
        },
        "brain_volume": {
            "Description": "grey + white matter, counted from the label map, over the "
            f"intracranial volume, times {MEAN_INTRACRANIAL:.0f}",
            "Units": "mm3",
        },
    }


_README = """# Virtual cohort

Nobody was scanned. Each subject is the ICBM 152 2009a template (Fonov et al. 2011, NeuroImage
54:313; its terms in LICENSE), deformed smoothly at random, its ventricles widened and its tissue
thinned by age, sex and chance as in healthy adults. `derivatives/truth` holds the label maps from
which the volumes in `participants.tsv` were counted.
"""

_LICENSE = """The images are derived from the ICBM 152 2009a template:

Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological
Institute, McGill University. Permission to use, copy, modify, and distribute this software and its
documentation for any purpose and without fee is hereby granted, provided that the above copyright
notice appear in all copies. The authors and McGill University make no representations about the
suitability of this software for any purpose. It is provided "as is" without express or implied
warranty. The authors are not responsible for any data loss, equipment damage, property loss, or
injury to subjects or patients resulting from the use or misuse of this software package.
"""
