"""The README's commands and Python, run as they stand there, on a small release."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running import ROOT, environment

pytestmark = pytest.mark.e2e

README = (ROOT / "README.md").read_text()
OF_A_RELEASE = ("status", "publish", "withdraw", "info", "query", "download", "verify")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands_on_a_release() -> list[str]:
    lines = "".join(blocks("sh")).splitlines()
    commands = [line.split("  #")[0].strip() for line in lines]
    return [c for c in commands if c.startswith("brainpress") and c.split()[1] in OF_A_RELEASE]


def brainpress(command: str, folder: Path) -> str:
    words = [sys.executable, "-m", "ray_jobs.cli", *shlex.split(command)[1:]]
    paths = environment({"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    done = subprocess.run(words, cwd=folder, env=paths, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `demo-release` lies: the README's sixteen volumes, at four steps."""
    folder = tmp_path_factory.mktemp("readme")
    brainpress("brainpress generate --n 16 --steps 4 --guidance 1 --out demo-release", folder)
    return folder


def test_the_commands_on_a_release_run_on_the_demo_release(folder: Path) -> None:
    commands = commands_on_a_release()
    assert {command.split()[1] for command in commands} == set(OF_A_RELEASE)
    for command in commands:
        assert brainpress(command, folder), command


def test_the_python_runs(folder: Path) -> None:
    namespace: dict[str, object] = {}
    code = "\n".join(blocks("python")).replace("demo-release", str(folder / "demo-release"))
    assert code.count("model.sample(") == 1
    code = code.replace("model.sample(", "model.sample(steps=4, ")
    assert "ldm.load" in code
    assert "read_parquet" in code
    exec(compile(code, "README.md", "exec"), namespace)
    image = namespace["image"]
    assert image.shape == (64, 80, 64)  # type: ignore[attr-defined]
    assert 0 <= image.get_fdata().min() <= image.get_fdata().max() <= 1  # type: ignore[attr-defined]
