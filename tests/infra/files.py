"""The files of infra/ as the tests read them."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from typing import Any

import yaml

from ray_jobs.cli import VERBS
from tests import ROOT

INFRA = ROOT / "infra"
IMAGE = "registry.example.org/brainpress"


def text(name: str) -> str:
    return (INFRA / name).read_text()


def load(name: str) -> Any:
    """The one document of a YAML or JSON file."""
    return json.loads(text(name)) if name.endswith(".json") else yaml.safe_load(text(name))


def pin(package: str) -> str:
    """The version of `package` in constraints.txt."""
    found = re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found, f"{package} is not pinned"
    return found.group(1)


def project() -> dict[str, Any]:
    """The table [project] of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def shell_lines() -> Iterator[str]:
    """Every line of the runbook's shell blocks, and the commands inside its tables."""
    readme = text("README.md")
    for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    for row in re.findall(r"^\|.*\|$", readme, re.MULTILINE):
        yield from re.findall(r"`([^`]+)`", row)


def commands() -> list[list[str]]:
    """Every `brainpress VERB ...` and `python ray_jobs/VERB.py ...` of infra/, from the verb on."""
    found = []
    jobs = [load("rayjob.yaml"), *load("training.yaml")["items"]]
    entrypoints = [job["spec"]["entrypoint"] for job in jobs if job["kind"] == "RayJob"]
    for line in (*entrypoints, *shell_lines()):
        words = shlex.split(line, comments=True)
        for place, word in enumerate(words):
            if word == "brainpress" and words[place + 1 : place + 2] and words[place + 1] in VERBS:
                found.append(words[place + 1 :])
            if match := re.fullmatch(r"ray_jobs/(\w+)\.py", word):
                found.append([match[1].replace("_", "-"), *words[place + 1 :]])
    return found
