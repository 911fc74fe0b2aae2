"""Measuring by FreeSurfer's SynthSeg (Billot et al. 2023), where `mri_synthseg` is on PATH."""

from __future__ import annotations

import csv
import subprocess
import tempfile
from pathlib import Path

import nibabel as nib

from ldm.errors import LdmError

VENTRICLES = tuple(
    f"{side} {name}"
    for side in ("left", "right")
    for name in ("lateral ventricle", "inferior lateral ventricle")
)
_FLUID = ("3rd ventricle", "4th ventricle", "csf")
# Columns that are no grey or white matter.
_NOT_BRAIN = {*VENTRICLES, *_FLUID, "total intracranial"}
_PATIENCE_S = 1800


def measure_by_synthseg(image: nib.Nifti1Image) -> dict[str, float]:
    """The volumes of `ldm.measuring.measure`: of the ventricles the four lateral ones.

    Raises:
        LdmError: mri_synthseg fails, takes over half an hour, or writes no such table.
    """
    with tempfile.TemporaryDirectory(prefix="brainpress-synthseg-") as folder:
        scan, table = Path(folder) / "scan.nii.gz", Path(folder) / "volumes.csv"
        nib.save(image, scan)
        words = ["mri_synthseg", "--i", scan, "--o", Path(folder) / "labels.nii.gz"]
        words += ["--vol", table, "--cpu", "--threads", "1"]
        try:
            done = subprocess.run(
                [str(word) for word in words],
                capture_output=True,
                text=True,
                timeout=_PATIENCE_S,
                check=False,
            )
        except FileNotFoundError:
            raise LdmError("measuring failed: mri_synthseg is not on this machine's PATH") from None
        except subprocess.TimeoutExpired:
            raise LdmError("measuring failed: mri_synthseg took over half an hour") from None
        if done.returncode or not table.is_file():
            said = (done.stderr or done.stdout).strip().splitlines()
            raise LdmError(
                f"measuring failed: mri_synthseg ended with {done.returncode}"
                f"{': ' + said[-1] if said else ' and wrote no volumes'}"
            )
        return read_volumes(table)


def read_volumes(table: Path) -> dict[str, float]:
    """The volumes from the table that `mri_synthseg --vol` writes, mm3 by name.

    Raises:
        LdmError: no such columns, or no numbers below them.
    """
    with table.open(newline="") as stream:
        rows = [row for row in csv.reader(stream) if row]
    names = next((row for row in rows if set(VENTRICLES) <= set(row)), None)
    if names is None:
        raise LdmError("measuring failed: mri_synthseg's table has no columns of the ventricles")
    try:
        # The first column is the subject's. With --parc the cortex is told again in parts.
        volumes = {
            name: float(value)
            for name, value in zip(names[1:], rows[-1][1:], strict=True)
            if not name.startswith("ctx-")
        }
    except ValueError:
        raise LdmError("measuring failed: mri_synthseg's table holds no numbers") from None
    for name in ("brain-stem", "total intracranial", *_FLUID):
        if name not in volumes:
            raise LdmError(f"measuring failed: mri_synthseg's table has no column {name!r}")
    brain = {name: volume for name, volume in volumes.items() if name not in _NOT_BRAIN}
    stem = brain["brain-stem"]
    white = sum(v for name, v in brain.items() if name.endswith(("white matter", "ventral DC")))
    return {
        "ventricular_volume": sum(volumes[name] for name in VENTRICLES),
        "brain_volume": sum(brain.values()),
        "grey_volume": sum(brain.values()) - white - stem,
        "white_volume": white,
        "brain_stem_volume": stem,
        "csf_volume": sum(volumes[name] for name in _FLUID),
        "intracranial_volume": volumes["total intracranial"],
    }
