"""`ray job submit` to a Ray that was started with `ray start --head`, writing to S3."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from ray_jobs import cli
from tests.e2e.running import ROOT, TOKEN, RayHead, environment, files, generate, wait_until
from tests.servers import SECRET_KEY, S3Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

N = 12


def submit(
    head: RayHead, cwd: Path, variables: dict[str, str], *words: object
) -> subprocess.CompletedProcess[str]:
    """`ray job submit` as a user types it, with the job's AWS settings in its environment."""
    about = f"--runtime-env-json={json.dumps({'env_vars': variables})}"
    return ray_job(head, cwd, "submit", about, *words)


def ray_job(
    head: RayHead, cwd: Path, what: str, *words: object
) -> subprocess.CompletedProcess[str]:
    """`ray job submit` or `logs`."""
    ray = str(Path(sys.executable).with_name("ray"))
    command = [ray, "job", what, f"--address={head.dashboard}", *map(str, words)]
    own = environment()
    del own["RAY_ADDRESS"]
    return subprocess.run(
        command, cwd=cwd, env=own, capture_output=True, text=True, timeout=600, check=False
    )


def script(model: Path, out: str) -> list[object]:
    options = ["--n", N, "--model", model, "--steps", 3, "--out", out]
    return ["--", sys.executable, "ray_jobs/generate.py", *options]


@pytest.fixture(scope="module")
def made(
    head: RayHead, model: Path, s3_server: S3Server
) -> tuple[str, subprocess.CompletedProcess[str]]:
    """The release that a job without --working-dir made, and what the job said."""
    out = f"s3://{s3_server.make_bucket()}/release"
    return out, submit(head, ROOT, s3_server.environment(), *script(model, out))


def test_a_job_without_working_dir_runs_where_the_package_is_installed(
    made: tuple[str, subprocess.CompletedProcess[str]],
) -> None:
    _, done = made
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{N} samples" in done.stdout
    assert "succeeded" in done.stdout
    assert SECRET_KEY not in done.stdout + done.stderr


def test_what_a_job_made_can_be_queried_downloaded_and_verified(
    made: tuple[str, subprocess.CompletedProcess[str]],
    s3: S3Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, _ = made
    assert cli.main(["verify", out]) == 0
    assert cli.main(["query", out, "--where", "age > 40", "--format", "csv", "--limit", "0"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("sub-") >= N
    assert cli.main(["download", out, str(tmp_path / "mine"), "--limit", "3"]) == 0
    assert len(list((tmp_path / "mine").glob("sub-*/anat/*_T1w.nii.gz"))) == 3
    assert cli.main(["verify", str(tmp_path / "mine")]) == 0


def test_a_job_with_working_dir_brings_its_own_code_to_driver_and_workers(
    head: RayHead,
    model: Path,
    made: tuple[str, subprocess.CompletedProcess[str]],
    s3: S3Server,
    tmp_path: Path,
) -> None:
    """The code that travels is told from the cluster's own by a mark in it."""
    for package in ("ldm", "manifests", "ray_jobs"):
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    for module, mark in (("job", "driver"), ("worker/worker", "worker")):
        path = tmp_path / "ray_jobs" / "generation" / f"{module}.py"
        here = f"('default_worker' in sys.argv[0]) == {mark == 'worker'}"
        note = (
            f"import sys, pathlib\nif {here}:\n    pathlib.Path({str(tmp_path / mark)!r}).touch()\n"
        )
        path.write_text(f"{path.read_text()}\n{note}")
    out = f"s3://{s3.make_bucket()}/release"
    done = submit(head, tmp_path, s3.environment(), "--working-dir", ".", *script(model, out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "driver").exists(), "the driver ran the cluster's code"
    assert (tmp_path / "worker").exists(), "the workers ran the cluster's code"
    first, second = (_objects(s3, place) for place in (made[0], out))
    assert first == second


def test_a_relative_folder_in_a_job_with_working_dir_is_refused(
    head: RayHead, model: Path, made: tuple[str, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "ray_jobs", tmp_path / "ray_jobs")
    done = submit(head, tmp_path, {}, "--working-dir", ".", *script(model, "release"))
    assert done.returncode != 0
    assert "--out release would lie in Ray's temporary copy" in done.stdout


def test_a_job_that_is_stopped_keeps_what_it_has_within_rays_three_seconds_and_goes_on(
    head: RayHead, model: Path, tmp_path: Path
) -> None:
    out, whole = tmp_path / "release", tmp_path / "whole"
    about: list[object] = ["--n", 64, "--model", model, "--steps", 60, "--batch-size", 2]
    about += ["--shard-size", 32, "--actors", 1, "--out"]
    program = ["--", sys.executable, "ray_jobs/generate.py", *about, out]
    submit(head, ROOT, {}, "--no-wait", "--submission-id=stopped", *program)
    wait_until(lambda: len(list(out.glob("sub-*/anat/*.nii.gz"))) > 5, "three batches")
    stop_job(head, "stopped")
    told = ray_job(head, ROOT, "logs", "--follow", "stopped").stdout
    kept = re.search(r"stopped by SIGTERM; \d+ of 64 volumes are done and (\d+) more, of 1", told)
    assert kept, told
    assert int(kept[1]) >= 1

    done = submit(head, ROOT, {}, *program)
    assert done.returncode == 0, done.stdout + done.stderr
    assert generate(*about, whole).returncode == 0
    assert files(out) == files(whole)


@pytest.mark.slow
def test_a_folder_is_printed_into_by_machines_that_share_it_alone(
    head: RayHead,
    model: Path,
    made: tuple[str, subprocess.CompletedProcess[str]],
    s3: S3Server,
    tmp_path: Path,
) -> None:
    """And S3 by all, where workers of both machines get the driver's credentials."""
    out = tmp_path / "shared" / "release"
    out.parent.mkdir()
    command = ["--n", N, "--model", model, "--steps", 3, "--shard-size", 2, "--out"]
    everybody = {"extra": head.environment()}
    with head.second_machine(cpus=1, hiding=tmp_path / "shared"):
        done = generate(*command, out, "--actors", 4, **everybody)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("is left out: it does not share the folder") == 1, done.stderr
    done = generate(*command, tmp_path / "one", **everybody)
    assert done.returncode == 0, done.stderr
    assert files(out) == files(tmp_path / "one")
    with head.second_machine(cpus=1):
        out = f"s3://{s3.make_bucket()}/release"
        variables = {**s3.environment(), **head.environment()}
        done = generate(*command, out, "--actors", 3, extra=variables)
        assert done.returncode == 0, done.stderr
        assert _objects(s3, out) == _objects(s3, made[0])


def stop_job(head: RayHead, job: str) -> None:
    """As `ray job stop` asks for it, which takes seconds to start."""
    token = {"Authorization": f"Bearer {TOKEN['RAY_AUTH_TOKEN']}"}
    asked = Request(f"{head.dashboard}/api/jobs/{job}/stop", method="POST", headers=token)
    with urlopen(asked, timeout=60) as answer:
        assert json.load(answer)["stopped"]


def _objects(server: S3Server, uri: str) -> dict[str, str]:
    """Digests of everything below an s3:// URI, by key."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    listed = server.client().list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")["Contents"]
    return {entry["Key"]: entry["ETag"] for entry in listed}
