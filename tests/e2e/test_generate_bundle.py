"""A release printed with a MONAI bundle's weights, through Ray and from a folder beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
import pytest

from ldm.loading import load
from ldm.models.bundle.description import CENTRE
from manifests.format.release_json import read_release
from manifests.storage import open_store
from tests.e2e.running import RayHead, environment, script
from tests.ldm.bundles import NARROW, write_bundle

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_a_bundle_prints_any_number_of_volumes_in_one_run(head: RayHead, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "unpacked")
    words = ["--model", "monai:unpacked", "--n", "3", "--steps", "2", "--seed", "4"]
    words += ["--batch-size", "1", "--precision", "fp32", "--actors", "1", "--out", "release"]
    done = subprocess.run(
        [sys.executable, script("generate"), *words],
        cwd=tmp_path,
        env=environment(head.environment()),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "32 x 64 x 32 voxels, 1 mm: model monai-bundle" in done.stderr

    model = load(f"monai:{folder}", device="cpu", precision="fp32")
    release = read_release(open_store(tmp_path / "release"))
    assert release["fields"]["model_fingerprint"] == model.fingerprint
    assert "not the published one" in release["model"]["description"]
    rows = pq.read_table(tmp_path / "release" / "manifest.parquet").to_pylist()
    assert len({row["sha256"] for row in rows}) == 3
    for row in rows:
        image = nib.load(tmp_path / "release" / row["path"])
        assert image.shape == NARROW.shape
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        middle = image.affine @ [*((np.array(image.shape) - 1) / 2), 1]
        np.testing.assert_allclose(middle[:3], CENTRE, atol=1e-4)
        asked = {name: row[name] for name in model.schema.names}
        levels = model.generate([asked], [(4, row["index"], row["attempt"])], steps=2)[0]
        stored = np.rint(np.asarray(image.dataobj) * 4095)
        assert np.abs(stored - levels).max() <= 1  # rounding, by another number of threads
