"""`segment` on real Ray: killed and taken up, on a folder and in a bucket; `generate --segment`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from manifests.format.layout import image_path
from manifests.format.segmentation.layout import LABELS_KEY, map_path
from manifests.ledger.segmentation.progress import parts_there, pending
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.verify import verify
from ray_jobs.segmentation.tool import LOADER as SHIPPED
from ray_jobs.segmentation.tool import told_by
from tests.e2e.running import ROOT, descendants, environment, generate, job, kill
from tests.manifests.ledger.test_finalise import bids_errors, everything
from tests.manifests.releases import make_release
from tests.ray_jobs.segmentation.fake_tool import FUSSY_LOADER, LOADER, OTHER_LOADER, load

pytestmark = pytest.mark.e2e

PROGRAM = """
import sys
from ray_jobs.cli import _tell
from ray_jobs.segmentation.job import segment
try:
    code = segment(sys.argv[1], loader=sys.argv[2], workers=2, replace="--replace" in sys.argv)
except Exception as error:
    code = _tell("segment", str(error), getattr(error, "exit_code", 99))
raise SystemExit(code)
"""


def command(place: str | Path, loader: str, *more: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(place), loader, *more]


def segments(
    place: str | Path, loader: str = LOADER, *more: str
) -> subprocess.CompletedProcess[str]:
    """`segment` with a tool of the tests, to its end."""
    extra = {"PYTHONPATH": str(ROOT), **aws()}
    return subprocess.run(
        command(place, loader, *more),
        env=environment(extra),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def aws() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def test_it_is_resumed_grows_and_is_the_same_in_a_bucket(tmp_path: Path, bucket: str) -> None:
    local, remote = tmp_path / "release", f"s3://{bucket}/r"
    for place in (local, remote):
        make_release(place, 12)
        done = segments(place)
        assert done.returncode == 0, done.stderr
        assert "12 label maps, 12 of them made now" in done.stdout
        assert verify(Release.open(place)).findings == []
    assert bids_errors(str(local)) == ""
    assert bids_errors(f"{local}/derivatives/segmentation") == ""
    assert everything(open_store(local)) == everything(open_store(remote))
    before = everything(open_store(local))
    again = segments(local)
    assert (again.returncode, again.stdout.count("nothing left to do")) == (0, 1)
    assert everything(open_store(local)) == before
    (local / map_path(3)).unlink()
    assert "1 of them made now" in segments(local).stdout
    assert everything(open_store(local)) == before
    other = segments(local, OTHER_LOADER)
    assert other.returncode == 2
    assert "has label maps by fake (aaaaaaaaaaaa)" in other.stderr
    assert segments(local, OTHER_LOADER, "--replace").returncode == 0
    assert verify(Release.open(local)).findings == []
    assert everything(open_store(local))[map_path(0)] != before[map_path(0)]


def test_a_driver_killed_leaves_what_the_next_takes_up(tmp_path: Path) -> None:
    store = make_release(tmp_path / "killed", 200)
    process = subprocess.Popen(
        command(store.uri, LOADER),
        env=environment({"PYTHONPATH": str(ROOT)}),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 200
        while len(parts_there(store)) < 2 and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        tree = [process.pid, *descendants(process.pid)]
        os.kill(process.pid, signal.SIGKILL)
        for pid in tree[1:]:
            kill(pid)
        process.wait()
    assert not Release.at(store).is_segmented
    done = segments(store.uri)
    assert done.returncode == 0, done.stderr
    other = make_release(tmp_path / "whole", 200)
    assert segments(other.uri).returncode == 0
    assert everything(store) == everything(other)


@pytest.mark.slow
def test_images_that_are_lost_are_named_and_the_others_are_kept(tmp_path: Path) -> None:
    store = make_release(tmp_path, 12)
    data = store.get(image_path(3))
    store.put(image_path(3), data[:-1] + b"x")
    store.delete(image_path(9))
    done = segments(store.uri)
    assert done.returncode == 1
    assert "2 images of" in done.stderr
    assert "sub-000009_T1w.nii.gz: it is missing" in done.stderr
    assert "generate --repair" in done.stderr
    assert "Traceback" not in done.stderr
    left = sum(len(block.images) for block in pending(Release.at(store), told_by(load())))
    assert left == 2


@pytest.mark.slow
def test_images_that_are_refused_end_it_with_exit_code_1_every_time(tmp_path: Path) -> None:
    store = make_release(tmp_path, 12)
    first = segments(store.uri, FUSSY_LOADER)
    assert first.returncode == 1
    rows = Release.at(store).regions().to_pylist()
    refused = [row for row in rows if row["error"]]
    assert 0 < len(refused) < 12
    assert f"{len(refused)} of 12 images" in first.stderr
    assert segments(store.uri, FUSSY_LOADER).returncode == 1
    assert verify(Release.at(store)).ok


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_generate_segments_what_it_made_with_the_tool_that_is_shipped(tmp_path: Path) -> None:
    out = tmp_path / "release"
    made = generate("--n", 2, "--segment", "--steps", 2, "--quality", "off", "--out", out)
    assert made.returncode == 0, made.stderr
    release = Release.open(out)
    assert verify(release).findings == []
    assert release.document.segmentation is not None
    assert release.document.segmentation.license == "CC-BY-SA-3.0"
    names = (out / LABELS_KEY).read_text()
    assert "left hippocampus" in names
    for index in (0, 1):
        labels = np.asarray(nib.load(out / map_path(index)).dataobj)
        assert len(np.unique(labels)) > 20
    assert job("segment", out).stdout.startswith("nothing left to do")
    assert json.loads((out / "release.json").read_text())["segmentation"]["images"] == 2
    assert SHIPPED.startswith("ldm.measuring")
