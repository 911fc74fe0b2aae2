"""The SLURM scripts: shellcheck has nothing to say, their commands are the real ones, the image has
the Dockerfile's versions. `python -m tests.infra.slurm` runs them on a real SLURM."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ray_jobs.cli import parser_of
from tests.infra.files import INFRA, ROOT, project, text

SLURM = INFRA / "slurm"
SCRIPTS = [*sorted(SLURM.glob("*.sbatch")), *sorted(SLURM.glob("*.sh")), INFRA / "again.sh"]
BATCHES = sorted(SLURM.glob("*.sbatch"))
DEFINITION = text("slurm/brainpress.def")
# Of `sbatch`, as its manual has them; the scripts' heads and the page use no other.
SBATCH = {
    *("account", "cpus-per-task", "dependency", "gpus-per-node", "job-name", "mem", "nodes"),
    *("ntasks-per-node", "open-mode", "output", "partition", "requeue", "signal", "time"),
}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path: Path) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [shellcheck, "--external-sources", f"--source-path={SLURM}", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def submissions() -> Iterator[list[str]]:
    """Every `sbatch ...` of the page and of the scripts' heads, in words."""
    page = (ROOT / "docs/slurm.md").read_text()
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL)).replace("\\\n", " ")
    heads = "\n".join(re.findall(r"^# +(sbatch .*)$", "\n".join(map(_read, BATCHES)), re.M))
    for line in f"{shell}\n{heads}".splitlines():
        if line.strip().startswith("sbatch "):
            yield shlex.split(line.replace("$SCRATCH", "/scratch"))[1:]


def _read(path: Path) -> str:
    return path.read_text()


def test_every_job_that_is_shown_is_taken_by_the_real_parsers() -> None:
    seen = set()
    for words in submissions():
        place = next(n for n, word in enumerate(words) if word.endswith(".sbatch"))
        assert (ROOT / words[place]).is_file()
        assert {word[2:].split("=")[0] for word in words[:place]} <= SBATCH
        rest = words[place + 1 :]
        verb, *options = ["generate", *rest] if "generate" in words[place] else rest
        if verb.startswith("train-") or verb == "encode-latents":  # what train.sbatch adds
            options = ["--gpu", "--workers", "4", *options]
        assert vars(parser_of(verb).parse_all(options))
        seen.add(verb)
    assert seen >= {
        "prepare",
        "train-autoencoder",
        "encode-latents",
        "train-diffusion",
        "generate",
    }


@pytest.mark.parametrize("path", BATCHES, ids=lambda path: path.name)
def test_a_job_hears_of_its_end_in_time_and_goes_back_into_the_queue(path: Path) -> None:
    head = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", path.read_text(), re.MULTILINE))
    assert set(head) <= SBATCH
    to, _, seconds = head["signal"].partition("@")
    assert to == "B:TERM"  # the batch script, which tells the driver; not the Ray under it
    assert int(seconds) >= 120
    assert "requeue" in head
    assert head["open-mode"] == "append"  # a second run does not begin its log anew
    assert head["ntasks-per-node"] == "1"  # one Ray a node
    if grace := re.search(r"--grace (\d+) ", path.read_text()):
        assert int(grace[1]) + 60 <= int(seconds)
    else:
        assert "generate" not in path.name


def test_the_image_stands_on_the_dockerfiles_base_and_packages() -> None:
    dockerfile = text("Dockerfile")
    base = re.search(r"^FROM (\S+)-\$\{DEVICE\}$", dockerfile, re.M)
    assert base
    assert f"From: {base[1]}-gpu\n" in DEFINITION
    wanted = re.findall(r"pip install (.*)", dockerfile)[0].replace("-e ", "")
    assert re.findall(r"pip install (.*)", DEFINITION) == [wanted]
    copied = {line.split()[0] for line in _section("files")}
    assert copied >= {"pyproject.toml", "constraints.txt", "ldm", "manifests", "ray_jobs"}
    assert all((ROOT / name).exists() for name in copied)
    labels = dict(line.split(maxsplit=1) for line in _section("labels"))
    assert {name.rpartition(".")[2]: value for name, value in labels.items()} == {
        "title": project()["name"],
        "version": project()["version"],
        "licenses": project()["license"],
    }


def _section(name: str) -> list[str]:
    """The lines of one section of the definition."""
    found = re.search(rf"^%{name}\n((?:    .*\n|\n)*)", DEFINITION, re.MULTILINE)
    assert found, name
    return [line.strip() for line in found[1].splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("command", "code", "times"),
    [
        ("exit 0", 0, 1),
        ("exit 1", 1, 1),  # incomplete: for a person
        ("exit 2", 2, 1),  # a wrong option
        ("kill -TERM $$", 143, 1),  # somebody asked for it
        ("kill -KILL $$", 137, 3),  # the kernel, say
        ("[[ $(wc -l <log) -gt 1 ]] || kill -KILL $$", 0, 2),
    ],
)
def test_a_command_is_begun_again_where_it_was_killed_and_only_there(
    tmp_path: Path, command: str, code: int, times: int
) -> None:
    words = ["bash", INFRA / "again.sh", "3", "bash", "-c", f"echo >>log; {command}"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert len((tmp_path / "log").read_text().splitlines()) == times
    assert done.stderr.count("begun again") == times - 1
