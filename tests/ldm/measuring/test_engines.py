"""Measuring volumes: by a program with SynthSeg's table, by the atlas on anatomy that is known."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ldm.anatomy.head_size import TEMPLATE_INTRACRANIAL, head_scale, normalised
from ldm.anatomy.virtual.subject import GREY, VENTRICLE, WHITE, make_subject
from ldm.errors import LdmError
from ldm.measuring import choose_engine, measure
from ldm.measuring.synthseg import read_volumes
from ldm.volumes.grid import Grid

# The columns of `mri_synthseg --vol`, FreeSurfer 7.4.
SIDED = (
    "cerebral white matter",
    "cerebral cortex",
    "lateral ventricle",
    "inferior lateral ventricle",
    "cerebellum white matter",
    "cerebellum cortex",
    "thalamus",
    "caudate",
    "putamen",
    "pallidum",
    "hippocampus",
    "amygdala",
    "accumbens area",
    "ventral DC",
)
COLUMNS = [
    "subject",
    "total intracranial",
    *(f"left {name}" for name in SIDED[:10]),
    "3rd ventricle",
    "4th ventricle",
    "brain-stem",
    *(f"left {name}" for name in SIDED[10:12]),
    "csf",
    *(f"left {name}" for name in SIDED[12:]),
    *(f"right {name}" for name in SIDED),
]
VALUES = {name: 1000.0 + 10 * place for place, name in enumerate(COLUMNS[1:])}
VENTRICLES = [name for name in COLUMNS if "lateral ventricle" in name]
OTHER = {"total intracranial", "3rd ventricle", "4th ventricle", "csf", *VENTRICLES}


def table(*, ctx: bool = False) -> str:
    values = {"subject": "scan", **VALUES} | ({"ctx-lh-bankssts": 5.0} if ctx else {})
    return ",".join(values) + "\n" + ",".join(map(str, values.values())) + "\n"


def program(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An executable `mri_synthseg` on PATH that runs `script` with its options as $1, $2, ..."""
    path = folder / "mri_synthseg"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def image() -> nib.Nifti1Image:
    return nib.Nifti1Image(np.ones((8, 8, 8), np.float32), np.eye(4))


@pytest.mark.parametrize("ctx", [False, True], ids=["whole cortex", "with --parc"])
def test_synthsegs_table_becomes_the_two_volumes(tmp_path: Path, ctx: bool) -> None:
    (tmp_path / "volumes.csv").write_text(table(ctx=ctx))
    found = read_volumes(tmp_path / "volumes.csv")
    assert len(VENTRICLES) == 4
    assert found["ventricular_volume"] == sum(VALUES[name] for name in VENTRICLES)
    assert found["brain_volume"] == sum(v for name, v in VALUES.items() if name not in OTHER)
    parts = ("grey_volume", "white_volume", "brain_stem_volume")
    assert sum(found[name] for name in parts) == found["brain_volume"]
    white = [name for name in COLUMNS if name.endswith(("white matter", "ventral DC"))]
    assert len(white) == 6
    assert found["white_volume"] == sum(VALUES[name] for name in white)
    assert found["intracranial_volume"] == VALUES["total intracranial"]


def test_synthseg_is_run_on_the_image_and_its_table_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "table.csv").write_text(table())
    seen = tmp_path / "seen"
    program(
        tmp_path,
        f'echo "$@" > {seen}; cp "$2" {seen}.nii.gz; cp {tmp_path}/table.csv "$6"',
        monkeypatch,
    )
    assert choose_engine("auto") == "synthseg"
    assert measure(image(), "synthseg")["ventricular_volume"] == pytest.approx(
        sum(VALUES[name] for name in VENTRICLES)
    )
    words = seen.read_text().split()
    assert words[::2][:3] == ["--i", "--o", "--vol"]
    assert words[-3:] == ["--cpu", "--threads", "1"]
    assert nib.load(f"{seen}.nii.gz").shape == (8, 8, 8)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo no licence >&2; exit 3", "mri_synthseg ended with 3: no licence"),
        ("true", "mri_synthseg ended with 0 and wrote no volumes"),
        ('echo a,b > "$6"', "table has no columns of the ventricles"),
    ],
    ids=["fails", "writes nothing", "writes something else"],
)
def test_a_synthseg_that_fails_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    program(tmp_path, script, monkeypatch)
    with pytest.raises(LdmError, match=f"measuring failed: .*{message}"):
        measure(image(), "synthseg")


def test_without_synthseg_auto_is_the_atlas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose_engine("auto") == "atlas"
    with pytest.raises(LdmError, match="mri_synthseg is not on PATH: install FreeSurfer"):
        choose_engine("synthseg")
    with pytest.raises(LdmError, match="engine 'x': expected one of synthseg, atlas, segmenter"):
        measure(image(), "x")


@pytest.mark.slow
def test_the_atlas_tells_the_volumes_of_virtual_subjects_apart() -> None:
    """Their dark third ventricle, not in the truth, is counted where it meets the lateral ones."""
    true, found = [], []
    for number in (2, 4):
        subject = make_subject((1, number), Grid(shape=(80, 96, 80), spacing=2.0))
        labels = np.asarray(subject.labels.dataobj, dtype=int)
        true.append(8.0 * np.bincount(labels.ravel(), minlength=5))
        found.append(measure(subject.image, "atlas"))
    small, large = (volumes["ventricular_volume"] for volumes in found)
    assert large / small == pytest.approx(true[1][VENTRICLE] / true[0][VENTRICLE], rel=0.1)
    assert 1 < small / true[0][VENTRICLE] < 1.8
    for volumes, counted in zip(found, true, strict=True):
        assert volumes["brain_volume"] == pytest.approx(counted[GREY] + counted[WHITE], rel=0.05)


def test_a_brain_is_normalised_by_the_size_of_its_head() -> None:
    assert head_scale(TEMPLATE_INTRACRANIAL / 1.25) == pytest.approx(1.25)
    assert normalised(1_200_000, 1.25) == pytest.approx(1_500_000)
    with pytest.raises(LdmError, match="intracranial_volume is 1500: expected mm3"):
        head_scale(1500)
