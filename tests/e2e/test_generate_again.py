"""Lost images are made again as they were, and failed samples drawn on, on a real Ray."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from manifests.format.layout import image_path
from manifests.storage import open_store
from ray_jobs import cli
from tests.e2e.running import (
    RayHead,
    files,
    generate,
    kill,
    started,
    tiny_model,
    wait_until,
)
from tests.servers import S3Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

N = 20
SAMPLING = ["--steps", 3, "--seed", 5, "--batch-size", 2, "--shard-size", 4]
PICKY = {"foreground_fraction": (0.0, 1.0), "mean_intensity": (0.44, 1.0)}


@pytest.fixture(scope="module")
def reference(head: RayHead, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "release"
    words = ["--n", N, "--model", model, *SAMPLING, "--out", out]
    done = generate(*words, "--actors", 1, extra=head.environment())
    assert done.returncode == 0, done.stderr
    return out


def images(out: Path) -> dict[str, bytes]:
    return {key: data for key, data in files(out).items() if key.endswith(".nii.gz")}


def test_lost_and_damaged_images_are_made_again_as_they_were(
    head: RayHead,
    model: Path,
    reference: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = shutil.copytree(reference, tmp_path / "release")
    (out / image_path(3)).unlink()
    (out / image_path(17)).unlink()
    data = (out / image_path(8)).read_bytes()
    (out / image_path(8)).write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    (out / image_path(12)).write_bytes(data)
    kept = {key: path.stat().st_mtime_ns for key in files(out) if (path := out / key).is_file()}
    assert cli.main(["verify", str(out)]) == 1
    assert "4 lost or damaged images can be made again" in capsys.readouterr().out
    words = ["--repair", "--model", model, "--out", out]
    rehearsed = generate(*words, "--dry-run", extra=head.environment())
    named = "sub-000003, sub-000008, sub-000012, sub-000017"
    assert f"4 images would be made again: {named}" in rehearsed.stdout
    assert not (out / image_path(3)).exists()
    done = generate(*words, extra=head.environment())
    assert done.returncode == 0, done.stderr
    assert "4 lost images of" in done.stderr
    assert "4 images made again as before" in done.stdout
    assert files(out) == files(reference)
    written = {key for key in kept if (out / key).stat().st_mtime_ns != kept[key]}
    assert written == {image_path(8), image_path(12)}
    again = generate(*words, extra=head.environment())
    assert "nothing to repair" in again.stdout
    compared = generate("--recheck", 3, "--model", model, "--out", out, extra=head.environment())
    assert compared.returncode == 0, compared.stderr
    assert "3 samples drawn again as the manifest says" in compared.stdout
    assert files(out) == files(reference)


@pytest.mark.slow
def test_a_published_release_in_a_bucket_is_repaired_and_what_was_withdrawn_stays_gone(
    head: RayHead, model: Path, s3: S3Server, bucket: str
) -> None:
    out = f"s3://{bucket}/press/release"
    secrets = {**s3.environment(), **head.environment()}
    words = ["--n", N, "--model", model, *SAMPLING, "--out", out]
    assert generate(*words, extra=secrets).returncode == 0
    assert cli.main(["publish", out, "--license", "CC0-1.0", "--author", "A. Lab"]) == 0
    assert cli.main(["withdraw", out, "sub-000006", "--reason", "no cerebellum", "--yes"]) == 0
    store = open_store(out)
    before = {entry.key: store.get(entry.key) for entry in store.list()}
    lost = [image_path(index) for index in range(N) if index % 3 and index != 6]
    for key in lost:
        store.delete(key)
    done = generate("--repair", "--model", model, "--out", out, "--actors", 2, extra=secrets)
    assert done.returncode == 0, done.stderr
    assert f"{len(lost)} images made again as before" in done.stdout
    assert {entry.key: store.get(entry.key) for entry in store.list()} == before
    assert cli.main(["verify", out]) == 0


@pytest.mark.slow
def test_a_repair_that_was_killed_goes_on_where_it_was(
    head: RayHead, model: Path, reference: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(reference, tmp_path / "release")
    for key in images(out):
        (out / key).unlink()
    words = ["--repair", "--model", model, "--out", out]
    with started(*words, "--actors", 1, extra=head.environment()) as run:
        wait_until(lambda: images(out), "a first image")
        kill(run.pid)
    left = N - len(images(out))
    done = generate(*words, extra=head.environment())
    assert done.returncode == 0, done.stderr
    assert left > 0
    assert files(out) == files(reference)


def test_another_model_and_a_release_that_is_none_are_refused_in_one_line(
    head: RayHead, reference: Path, tmp_path: Path
) -> None:
    other = tiny_model(tmp_path / "other", bounds=PICKY)
    lines = {
        "model_fingerprint is": ["--repair", "--model", other, "--out", reference],
        "no release there, it is empty": ["--repair", "--out", tmp_path / "nothing"],
        "leave out --n": ["--repair", "--n", 3, "--out", reference],
        "--n is missing": ["--out", reference],
        "not allowed with": ["--repair", "--redraw", "--out", reference],
    }
    for told, words in lines.items():
        done = generate(*words, extra=head.environment())
        assert done.returncode == 2, done.stderr
        assert told in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_failed_samples_are_drawn_on_to_what_more_attempts_at_once_had_made(
    head: RayHead, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picky = tiny_model(tmp_path / "picky", bounds=PICKY)
    out, at_once = tmp_path / "release", tmp_path / "at-once"
    words = ["--n", N, "--model", picky, *SAMPLING]
    extra = head.environment()
    assert generate(*words, "--attempts", 9, "--out", at_once, extra=extra).returncode in (0, 1)
    assert generate(*words, "--attempts", 1, "--out", out, extra=extra).returncode == 1
    before = pq.read_table(out / "manifest.parquet").to_pylist()
    failed = [row["index"] for row in before if row["status"] == "failed"]
    assert 3 < len(failed) < N
    redraw = ["--redraw", "--model", picky, "--out", out, "--attempts", 4]
    rehearsed = generate(*redraw, "--dry-run", extra=extra)
    assert f"{len(failed)} samples would be drawn again" in rehearsed.stdout
    with started(*redraw, "--actors", 1, extra=extra) as run:
        wait_until(lambda: images(out).keys() - {row["path"] for row in before}, "an image")
        kill(run.pid)
    done = generate(*redraw, extra=extra)
    assert done.returncode in (0, 1), done.stderr
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    wanted = pq.read_table(at_once / "manifest.parquet").to_pylist()
    ours, theirs = images(out), images(at_once)
    gained = 0
    for row, other in zip(rows, wanted, strict=True):
        if row["status"] == "ok":
            assert row == other
            assert ours.pop(row["path"]) == theirs[row["path"]]
            gained += row["index"] in failed
        else:  # of the shards that the killed run had done, eight were spent
            assert row["attempt"] in (4, 8)
            assert other["status"] == "failed" or other["attempt"] > row["attempt"]
    assert gained > 2
    assert not ours, "images without a row"
    cli.main(["verify", str(out)])
    found = capsys.readouterr().err
    assert {line.split()[1] for line in found.splitlines()} <= {"sample-failed"}
    again = generate("--redraw", "--model", picky, "--out", reference, extra=extra)
    assert "holds another release" in again.stderr
