"""The image: hadolint has nothing to say, its versions are the pinned ones, nobody is root."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.infra.files import IMAGE, INFRA, ROOT, pin, project, text

DOCKERFILE = text("Dockerfile")
EXTRAS = ("press", "strip", "perceptual", "private", "tracking")


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, INFRA / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_it_stands_on_the_pinned_ray_on_a_gpu_or_without() -> None:
    base = re.search(r"^FROM rayproject/ray:([\d.]+)-py(\d)(\d+)-\$\{DEVICE\}$", DOCKERFILE, re.M)
    assert base
    assert base[1] == pin("ray")
    assert f">={base[2]}.{base[3]}" == project()["requires-python"]
    assert re.search(r"^ARG DEVICE=gpu$", DOCKERFILE, re.M)
    built = re.findall(r"docker build (.*)", text("README.md").replace("\\\n", ""))
    assert [
        ("DEVICE=cpu" in line, f"{IMAGE}:{project()['version']}" in line) for line in built
    ] == [
        (False, True),
        (True, True),
    ]


def test_its_labels_are_the_projects() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', DOCKERFILE))
    about = project()
    assert labels == {
        "title": about["name"],
        "version": about["version"],
        "licenses": about["license"],
    }


def test_packages_are_those_of_the_constraints_and_nobody_is_root() -> None:
    installs = re.findall(r"pip install (.*)", DOCKERFILE)
    assert [shlex.split(line) for line in installs] == [
        [*["--no-cache-dir", "-c", "constraints.txt", "-e"], f".[{','.join(EXTRAS)}]"]
    ]
    # All that a job can need: the extras but those of the developers.
    assert set(project()["optional-dependencies"]) - {"dev", "docs"} == set(EXTRAS)
    assert re.findall(r"^USER (\d+):", DOCKERFILE, re.M) == ["1000"]
    assert set(re.findall(r"--chown=(\S+)", DOCKERFILE)) == {"1000:100"}


def test_what_it_copies_exists_and_enters_the_build() -> None:
    copied = [
        name
        for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE)
        for name in shlex.split(line)[1:-1]
    ]
    allowed = text("Dockerfile.dockerignore").splitlines()
    assert {"ldm", "manifests", "ray_jobs"} < set(copied)
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in allowed, name
    assert "*" in allowed


def test_the_commands_that_it_tries_are_installed_by_its_packages() -> None:
    scripts = {entry.name for entry in importlib.metadata.entry_points(group="console_scripts")}
    assert {"ray", "brainpress"} <= scripts
    tried = re.findall(r"(\w+) (?:--version|generate --help)", DOCKERFILE)
    assert set(tried) == {"ray", "brainpress"}
    (imports,) = re.findall(r"import ([\w., ]+);", DOCKERFILE)
    for module in imports.split(", "):
        assert importlib.util.find_spec(module), module
