"""A consumer's machine: the light install in a fresh environment, and a release read with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from manifests.digests import sha256
from tests import ROOT
from tests.manifests import releases
from tests.servers import S3Server
from tests.web_servers import Plain, Ranged, serving

PARTS = ("ldm", "manifests", "ray_jobs", "pyproject.toml", "LICENSE", "README.md")
SAMPLES = 6

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
Brainpress = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with `pip install brainpress`, built from these very files."""
    place = tmp_path_factory.mktemp("consumer")
    source = place / "source"
    source.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(
                ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / part, source / part)
    venv = place / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=120)
    done = subprocess.run(
        [venv / "bin/pip", "install", "-q", "-c", ROOT / "constraints.txt", source],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return venv


@pytest.fixture
def brainpress(environment: Path, tmp_path: Path) -> Brainpress:
    """Runs the installed command, in a folder that has nothing of the checkout."""

    def run(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        clean = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [environment / "bin/brainpress", *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**clean, **variables},
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf") / "release"
    releases.make_release(folder, SAMPLES)
    return folder


def test_it_installs_nothing_of_the_press(environment: Path) -> None:
    listed = subprocess.run(
        [environment / "bin/pip", "list", "--format=json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    names = {package["name"].lower() for package in json.loads(listed.stdout)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    light = {requirement.split(">")[0] for requirement in project["dependencies"]}
    assert light == {
        "boto3",
        "duckdb",
        "nibabel",
        "numpy",
        "obstore",
        "packaging",
        "pandas",
        "pyarrow",
        "rich",
        "urllib3",
    }
    assert {"brainpress", *light} <= names
    assert not names & {"torch", "ray", "monai", "scipy", "nilearn", "smart-open", "pillow"}


def test_the_modules_of_the_light_verbs_import(environment: Path) -> None:
    program = (
        "import importlib, manifests;"
        "from ray_jobs.cli import VERBS, PUBLISH, READ;"
        "light = [v.module for n, v in VERBS.items() if v.group in (PUBLISH, READ)"
        " or n == 'status'];"
        "[importlib.import_module(name) for name in light];"
        "print(len(light), manifests.__file__)"
    )
    done = subprocess.run(
        [environment / "bin/python", "-I", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, place = done.stdout.split()
    assert int(count) == 12
    assert Path(place).is_relative_to(environment)


def test_info_and_status_tell_what_is_there(brainpress: Brainpress, release: Path) -> None:
    told = brainpress("info", release)
    assert (told.returncode, told.stderr) == (0, "")
    assert str(SAMPLES) in told.stdout
    assert "demonstration" in told.stdout.lower()
    assert brainpress("status", release).returncode == 0


def test_query_filters_the_manifest(brainpress: Brainpress, release: Path) -> None:
    columns = "participant_id,age,sex"
    everybody = brainpress("query", release, "--columns", columns, "--format", "json")
    older = brainpress(
        "query", release, "--columns", columns, "--where", "age > 60", "--format", "json"
    )
    assert older.returncode == 0, older.stderr
    rows, kept = json.loads(everybody.stdout), json.loads(older.stdout)
    assert len(rows) == SAMPLES
    assert kept == [row for row in rows if row["age"] > 60]
    assert 0 < len(kept) < SAMPLES


def test_query_answers_sql(brainpress: Brainpress, release: Path) -> None:
    sql = "SELECT count(*) AS n, min(age) >= 44 AS adult FROM manifest"
    done = brainpress("query", release, sql, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"n": SAMPLES, "adult": True}]
    assert done.stderr == "1 row\n"
    wrong = brainpress("query", release, "SELECT agee FROM manifest")
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1


def test_download_fetches_a_subset_that_verifies(
    brainpress: Brainpress, release: Path, tmp_path: Path
) -> None:
    out = tmp_path / "subset"
    done = brainpress("download", release, out, "--limit", "2")
    assert done.returncode == 0, done.stderr
    images = sorted(path.relative_to(out) for path in out.rglob("*.nii.gz"))
    assert len(images) == 2
    for image in images:
        assert (out / image).read_bytes() == (release / image).read_bytes()
    assert brainpress("verify", out).returncode == 0


def test_verify_finds_a_byte_that_changed(
    brainpress: Brainpress, release: Path, tmp_path: Path
) -> None:
    assert brainpress("verify", release).returncode == 0
    spoilt = shutil.copytree(release, tmp_path / "spoilt")
    image = next(spoilt.rglob("*.nii.gz"))
    data = bytearray(image.read_bytes())
    data[-10] ^= 1
    image.write_bytes(data)
    found = brainpress("verify", spoilt)
    assert found.returncode == 1
    assert image.name in found.stdout + found.stderr


def test_a_release_on_s3_is_read_the_same_way(
    brainpress: Brainpress, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    uri = f"s3://{bucket}/release"
    releases.make_release(uri, SAMPLES)
    for words in (("info", uri), ("query", uri, "--limit", "1"), ("verify", uri), ("status", uri)):
        done = brainpress(*words, **s3.environment())
        assert done.returncode == 0, (words, done.stderr)
    done = brainpress("download", uri, tmp_path / "copy", **s3.environment())
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "copy").rglob("*.nii.gz"))) == SAMPLES


@pytest.mark.parametrize("handler", [Plain, Ranged], ids=["whole files only", "with ranges"])
def test_a_stranger_takes_the_tour_over_http(
    brainpress: Brainpress, release: Path, tmp_path: Path, handler: type[Plain]
) -> None:
    digest = sha256((release / "release.json").read_bytes())
    with serving(release, handler) as server:
        address = f"{server.url}/index.html"
        told = brainpress("info", address)
        assert told.returncode == 0, told.stderr
        assert digest in told.stdout
        for words in (
            ("query", address, "--where", "age > 60", "--expect", digest),
            ("query", address, "SELECT sex, count(*) FROM manifest GROUP BY sex"),
            ("verify", address),
            ("download", address, tmp_path / "copy", "--limit", "2"),
            ("shards", address, "--out", tmp_path / "shards"),
        ):
            done = brainpress(*words)
            assert done.returncode == 0, (words, done.stderr)
        refused = brainpress("withdraw", address, "sub-000001", "--reason", "x", "--yes")
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert len(list((tmp_path / "copy").rglob("*.nii.gz"))) == 2
    assert brainpress("verify", tmp_path / "copy").returncode == 0


def test_a_verb_of_the_press_says_in_one_line_what_to_install(
    brainpress: Brainpress, tmp_path: Path
) -> None:
    done = brainpress("generate", "--n", "1", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("brainpress generate: needs ")
    assert done.stderr.endswith(": pip install '.[press]' in a checkout of brainpress\n")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
