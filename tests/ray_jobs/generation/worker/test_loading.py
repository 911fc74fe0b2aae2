"""A worker loads its model: with the function that the options name, and patiently."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from botocore.exceptions import EndpointConnectionError

from ldm.errors import LdmError
from ldm.volumes.conversion import LEVELS
from manifests.format.layout import image_path
from ray_jobs.generation.options import Device, Options
from ray_jobs.generation.start import assignment, begin, check, fields_of
from ray_jobs.generation.worker.assignment import Assignment
from ray_jobs.generation.worker.loading import patiently
from ray_jobs.generation.worker.worker import Worker
from tests import ROOT
from tests.benchmarks.simulated import LOADER, load, write_model


def told(folder: Path) -> Assignment:
    model = write_model(folder / "model", seconds_per_volume=0.0, shape=(8, 9, 10))
    options = Options(
        n=4,
        out=str(folder / "out"),
        model=str(model),
        device=Device.CUDA,
        batch_size=2,
        shard_size=4,
        loader=LOADER,
    )
    request = check(options)
    return assignment(request, begin(request, fields_of(request, device=Device.CUDA)))


def test_a_worker_prints_with_the_loader_that_is_named(tmp_path: Path) -> None:
    here = told(tmp_path)
    worker = Worker(here, {})
    assert worker.load() is None
    assert worker.print_shard(0).rows == 4
    model = load(here.model)
    for index in range(4):
        stored = (tmp_path / "out" / image_path(index)).read_bytes()
        image = nib.Nifti1Image.from_bytes(gzip.decompress(stored))
        expected = model.generate([{}], [(here.recipe.seed, index, 0)])[0]
        assert np.array_equal(np.rint(np.asarray(image.dataobj) * LEVELS), expected)


def test_a_loader_that_no_worker_can_import_is_told(tmp_path: Path) -> None:
    for loader in ("no_such_module:load", "tests.benchmarks.simulated:nothing", ":"):
        refusal = Worker(replace(told(tmp_path), loader=loader), {}).load()
        assert refusal is not None
        assert refusal.startswith(f"loader {loader}: ")
        assert refusal.endswith('; expected "module:function", importable on every worker')


def test_a_worker_imports_torch_only_if_its_model_does(tmp_path: Path) -> None:
    """Thirty-two workers of the benchmark share a small machine."""
    (tmp_path / "job.py").write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from ray_jobs.generation.worker.worker import Worker\n"
        "from tests.ray_jobs.generation.worker.test_loading import told\n"
        "worker = Worker(told(Path(sys.argv[1])), {})\n"
        "assert worker.load() is None and worker.print_shard(0).rows == 4\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    command = [sys.executable, str(tmp_path / "job.py"), str(tmp_path)]
    root = ROOT
    done = subprocess.run(command, cwd=root, env={"PYTHONPATH": str(root)}, check=False)
    assert done.returncode == 0


def test_a_model_is_waited_for_while_its_server_is_away_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ray_jobs.generation.worker.loading.LOAD_PAUSE_SECONDS", 0.01)
    tries = 0

    def load() -> str:
        nonlocal tries
        tries += 1
        if tries == 4:
            return "model"
        try:
            raise EndpointConnectionError(endpoint_url="http://away")
        except EndpointConnectionError:
            raise LdmError("s3://bucket/model cannot be read") from None

    assert patiently(load, until=time.monotonic() + 60) == "model"
    tries = 0
    with pytest.raises(LdmError):
        patiently(load, until=time.monotonic() - 1)
    assert tries == 1

    def absent() -> str:
        raise LdmError("no model there")

    with pytest.raises(LdmError, match="no model there"):
        patiently(absent, until=time.monotonic() + 60)
