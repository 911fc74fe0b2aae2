"""Models of one's own kind: a worker loads them with the function that the options name."""

from __future__ import annotations

import gzip
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from ldm.volumes.conversion import LEVELS
from manifests.format.layout import image_path
from ray_jobs.generation.job import print_job
from ray_jobs.generation.order import begin, fields_of, take
from ray_jobs.generation.plan import Device, Options
from ray_jobs.generation.printer import Printer, PrintJob
from tests import ROOT
from tests.benchmarks.simulated import LOADER, load, write_model


def job(folder: Path) -> PrintJob:
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
    order = take(options)
    return print_job(order, begin(order, fields_of(order, device=Device.CUDA)))


def test_a_worker_prints_with_the_loader_that_is_named(tmp_path: Path) -> None:
    told = job(tmp_path)
    printer = Printer(told, {})
    assert printer.load() is None
    assert printer.print_shard(0).rows == 4
    model = load(told.model)
    for index in range(4):
        stored = (tmp_path / "out" / image_path(index)).read_bytes()
        image = nib.Nifti1Image.from_bytes(gzip.decompress(stored))
        expected = model.generate([{}], [(told.seed, index, 0)])[0]
        assert np.array_equal(np.rint(np.asarray(image.dataobj) * LEVELS), expected)


def test_a_loader_that_no_worker_can_import_is_told(tmp_path: Path) -> None:
    for loader in ("no_such_module:load", "tests.benchmarks.simulated:nothing", ":"):
        refusal = Printer(replace(job(tmp_path), loader=loader), {}).load()
        assert refusal is not None
        assert refusal.startswith(f"loader {loader}: ")
        assert refusal.endswith('; expected "module:function", importable on every worker')


def test_a_worker_imports_torch_only_if_its_model_does(tmp_path: Path) -> None:
    """Thirty-two workers of the benchmark share a small machine."""
    (tmp_path / "job.py").write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from ray_jobs.generation.printer import Printer\n"
        "from tests.ray_jobs.generation.test_loader import job\n"
        "printer = Printer(job(Path(sys.argv[1])), {})\n"
        "assert printer.load() is None and printer.print_shard(0).rows == 4\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    command = [sys.executable, str(tmp_path / "job.py"), str(tmp_path)]
    root = ROOT
    done = subprocess.run(command, cwd=root, env={"PYTHONPATH": str(root)}, check=False)
    assert done.returncode == 0
