"""What README, docs and notebooks tell one to run, run as it stands there, on a small release."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs import notebooks
from tests.e2e.running import ROOT, environment

pytestmark = pytest.mark.e2e

# In the order in which a newcomer reads them: the commands run one after the other.
PAGES = ("README.md", "docs/printing.md", "docs/using.md")
TEXT = "\n".join((ROOT / page).read_text() for page in PAGES)
OF_A_RELEASE = ("status", "publish", "withdraw", "info", "query", "download", "verify")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


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
def printed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The README's sixteen volumes, at four steps, as they were printed."""
    folder = tmp_path_factory.mktemp("printed")
    brainpress("brainpress generate --n 16 --steps 4 --guidance 1 --out demo-release", folder)
    return folder / "demo-release"


@pytest.fixture(scope="module")
def folder(printed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `demo-release` lies: the commands of all pages change it, one after the other."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(printed, folder / "demo-release")
    return folder


def test_the_commands_on_a_release_run_on_the_demo_release(folder: Path) -> None:
    commands = commands_on_a_release()
    assert {command.split()[1] for command in commands} == set(OF_A_RELEASE)
    for command in dict.fromkeys(commands):
        assert brainpress(command, folder), command


def test_the_python_runs(folder: Path) -> None:
    namespace: dict[str, object] = {}
    code = "\n".join(blocks("python")).replace("demo-release", str(folder / "demo-release"))
    assert "model.sample(" in code
    code = code.replace("model.sample(", "model.sample(steps=4, ")
    assert "ldm.load" in code
    assert "read_parquet" in code
    exec(compile(code, "README.md", "exec"), namespace)
    image = namespace["image"]
    assert image.shape == (64, 80, 64)  # type: ignore[attr-defined]
    assert 0 <= image.get_fdata().min() <= image.get_fdata().max() <= 1  # type: ignore[attr-defined]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", notebooks.OF_A_RELEASE)
def test_a_notebook_of_a_release_runs(name: str, printed: Path, tmp_path: Path) -> None:
    shutil.copytree(printed, tmp_path / "demo-release")
    run = notebooks.executed(name, tmp_path)
    assert all(cell.execution_count for cell in run.cells if cell.cell_type == "code")
    assert str(tmp_path) not in notebooks.words(run)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_student_gets_from_a_cohort_to_a_release(tmp_path: Path) -> None:
    notebooks.executed("student", tmp_path)
    assert (tmp_path / "release" / "release.json").is_file()
