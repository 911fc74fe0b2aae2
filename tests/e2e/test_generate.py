"""Releases made on a real Ray: the same bytes by any number of workers, on a disk and in S3."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import nibabel as nib
import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families

from manifests.format.release_json import read_release
from manifests.storage import open_store
from ray_jobs import cli
from ray_jobs.generation.driving.metrics import PREFIX
from ray_jobs.generation.worker.tally import Stage
from tests.e2e.running import RayHead, files, generate, tiny_model
from tests.servers import SECRET_KEY, S3Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

N = 20  # two shards of 8 and one of 4


@pytest.fixture(scope="module")
def reference(
    head: RayHead, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The release made at once by one worker, and what the run said."""
    out = tmp_path_factory.mktemp("reference") / "release"
    done = generate(*words(model, out), "--actors", 1, extra=head.environment())
    return out, done


def words(model: Path, out: object, n: int = N) -> list[object]:
    return ["--n", n, "--model", model, "--steps", 3, "--seed", 5, "--out", out]


def test_a_run_ends_with_a_release_and_says_where_everything_is(
    reference: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, done = reference
    assert done.returncode == 0, done.stderr
    assert "20 volumes of 16 x 24 x 16 voxels, 10 mm: model tiny, seed 5" in done.stderr
    assert "3 shards of 8 to do, 1 worker, one core each" in done.stderr
    for line in done.stdout.splitlines()[1:3]:
        assert Path(line.split()[-1]).is_file(), line
    assert "Traceback" not in done.stderr + done.stdout
    assert (out / "release.json").stat().st_mtime_ns == max(
        path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()
    ), "release.json was not written last"


def test_the_release_is_valid_bids_and_verifies(
    reference: tuple[Path, subprocess.CompletedProcess[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = reference
    checker = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run(
        [checker, out, "--max-rows", "-1"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert cli.main(["verify", str(out)]) == 0, capsys.readouterr()
    image: Any = nib.load(out / "sub-000019/anat/sub-000019_T1w.nii.gz")
    assert image.shape == (16, 24, 16)
    assert image.header.get_zooms() == (10.0, 10.0, 10.0)


def test_three_workers_and_s3_give_the_same_bytes_and_no_secret_is_shown(
    head: RayHead,
    model: Path,
    reference: tuple[Path, subprocess.CompletedProcess[str]],
    s3: S3Server,
    bucket: str,
) -> None:
    """The cluster was started without the credentials: they travel from the driver."""
    out = f"s3://{bucket}/press/release"
    secrets = {**s3.environment(), **head.environment()}
    done = generate(*words(model, out), "--actors", 3, extra=secrets)
    assert done.returncode == 0, done.stderr
    store = open_store(out)
    made = {entry.key: store.get(entry.key) for entry in store.list()}
    assert made == files(reference[0])
    shown = done.stdout + done.stderr
    assert SECRET_KEY not in shown
    assert not [log for log in ray_logs(head) if SECRET_KEY.encode() in log.read_bytes()]
    again = generate(*words(model, out), extra=secrets)
    assert again.returncode == 0
    assert "nothing left to do" in again.stdout


@pytest.mark.parametrize(
    "wrong",
    [
        {"AWS_ENDPOINT_URL": "http://me:hunter2-of-the-endpoint@127.0.0.1:9"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9/?X-Amz-Signature=hunter2-of-the-endpoint"},
        {"AWS_SECRET_ACCESS_KEY": "hunter2-of-the-endpoint"},
        {"AWS_SESSION_TOKEN": "hunter2-of-the-endpoint"},
    ],
    ids=["password in the endpoint", "signature in the endpoint", "secret", "token"],
)
def test_wrong_credentials_are_told_without_them_and_leave_no_trace_in_rays_logs(
    head: RayHead, model: Path, s3: S3Server, bucket: str, wrong: dict[str, str]
) -> None:
    out = f"s3://{bucket}/press/release"
    extra = {**s3.environment(), **head.environment(), **wrong}
    done = generate(*words(model, out), extra=extra)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert not [log for log in ray_logs(head) if b"hunter2" in log.read_bytes()]


def ray_logs(head: RayHead) -> list[Path]:
    return [path for path in head.folder.rglob("*") if path.is_file() and not path.is_socket()]


def test_a_release_grows_by_a_larger_n_and_keeps_what_it_had(
    head: RayHead,
    model: Path,
    reference: tuple[Path, subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    out = tmp_path / "release"
    assert (
        generate(*words(model, out, n=11), "--actors", 1, extra=head.environment()).returncode == 0
    )
    assert read_release(open_store(out))["counts"]["samples"] == 11
    kept = {
        path: path.stat().st_mtime_ns
        for path in [out / "manifest/part-00000.parquet", *out.glob("sub-*/anat/*.nii.gz")]
    }
    assert len(kept) == 12
    grown = generate(*words(model, out), "--actors", 1, extra=head.environment())
    assert grown.returncode == 0, grown.stderr
    assert files(out) == files(reference[0])
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    smaller = generate(*words(model, out, n=11), extra=head.environment())
    assert (smaller.returncode, "nothing left to do" in smaller.stdout) == (0, True)
    assert files(out) == files(reference[0])


@dataclass(frozen=True, kw_only=True)
class Picky:
    """A release whose model refuses many of its volumes, as Ray's metrics told of it at its end."""

    out: Path
    command: list[object]
    done: subprocess.CompletedProcess[str]
    seconds: float
    metrics: str


@pytest.fixture(scope="module")
def picky(head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Picky:
    folder = tmp_path_factory.mktemp("picky")
    figures = {"foreground_fraction": (0.0, 1.0), "mean_intensity": (0.44, 1.0)}
    model, out = tiny_model(folder / "model", bounds=figures), folder / "release"
    command = ["--n", 12, "--model", model, "--steps", 3, "--attempts", 2, "--out", out]
    began = time.monotonic()
    done = generate(*command, "--actors", 1, extra=head.environment())
    took = time.monotonic() - began
    with urlopen(head.metrics, timeout=10) as answer:
        metrics = answer.read().decode()
    return Picky(out=out, command=command, done=done, seconds=took, metrics=metrics)


def test_prometheus_is_told_what_was_made_what_it_took_and_what_failed(picky: Picky) -> None:
    """Scraped from Ray's own endpoint once the run is over: not even its last second is missing."""
    rows = pq.read_table(picky.out / "manifest.parquet").to_pylist()
    failed = [row for row in rows if row["status"] == "failed"]
    assert 0 < len(failed) < 12
    scraped = scraped_metrics(picky.metrics, release=str(picky.out))
    assert scraped["volumes_total"] == 12 - len(failed)
    assert scraped["bytes_total"] == sum(row["bytes"] or 0 for row in rows)
    assert scraped["failed_volumes_total"] == len(failed)
    assert scraped["retries_total volume"] == sum(row["attempt"] for row in rows)
    assert scraped["wanted_volumes"] == scraped["done_volumes"] == 12
    seconds = {stage: scraped[f"stage_seconds_total {stage}"] for stage in Stage}
    assert all(value > 0 for value in seconds.values())
    assert 0 < seconds[Stage.DRAW] < scraped["worker_seconds_total"] < picky.seconds
    assert "lost_workers_total" not in scraped
    assert "given_up_shards_total" not in scraped


def scraped_metrics(text: str, *, release: str) -> dict[str, float]:
    """The run's own numbers of an answer to Prometheus: `name` or `name label` -> value."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("release") == release:
                name = sample.name.removeprefix(f"{PREFIX}brainpress_")
                told = [sample.labels[key] for key in ("stage", "of") if key in sample.labels]
                found[" ".join([name, *told])] = sample.value
    return found


def test_samples_that_fail_for_good_are_told_and_end_the_run_with_exit_1(
    head: RayHead, picky: Picky
) -> None:
    counts = read_release(open_store(picky.out))["counts"]
    assert 0 < counts["failed"] < 12
    assert picky.done.returncode == 1
    assert f"{counts['failed']} of 12 samples failed the quality check" in picky.done.stderr
    again = generate(*picky.command, extra=head.environment())
    assert (again.returncode, "nothing left to do" in again.stdout) == (1, True)


def test_a_dry_run_makes_nothing_and_tells_shards_bytes_and_time(
    head: RayHead, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "release"
    done = generate(*words(model, out, n=1000), "--dry-run", extra=head.environment())
    assert done.returncode == 0, done.stderr
    assert "125 of 8 volumes, 125 to do" in done.stdout
    assert "a volume" in done.stdout
    assert "with 3 workers" in done.stdout
    assert not out.exists()


def test_pictures_show_the_first_samples(
    reference: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    pictures = sorted(path.name for path in (reference[0] / "previews").iterdir())
    assert pictures == ["by_ventricular_volume.png", "samples.png"]


def test_a_folder_with_umlauts_spaces_and_signs_prints_like_any_other(
    reference: tuple[Path, subprocess.CompletedProcess[str]], model: Path, tmp_path: Path
) -> None:
    """Ray's labels and sockets are ASCII, also where the home and its TMPDIR are not."""
    home = tmp_path / "jürgen's 100% 🧠"
    home.mkdir()
    copied = shutil.copytree(model, home / "modell ü%41")
    out = home / "größe %20"
    done = generate(
        *words(copied, out, 4), extra={"TMPDIR": str(home), "HOME": str(home), "RAY_TMPDIR": ""}
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    for number in range(4):
        key = f"sub-{number:06d}/anat/sub-{number:06d}_T1w.nii.gz"
        assert (out / key).read_bytes() == (reference[0] / key).read_bytes()
    where = done.stdout.partition("query it  ")[2].splitlines()[0]
    assert shlex.split(where)[2] == str(out)
    assert cli.main(["verify", str(out)]) == 0
