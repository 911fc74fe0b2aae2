"""Folders of a submitted job: none in Ray's copy of the working directory, in any verb."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from ray_jobs import cli
from ray_jobs.places import PLACES, refuse_fleeting

JOBS = sorted(name for name, verb in cli.VERBS.items() if verb.module.startswith("ray_jobs"))


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if in a job with --working-dir."""
    copy = tmp_path / "runtime_resources" / "working_dir_files" / "_ray_pkg_0"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)


@pytest.mark.parametrize(
    "words",
    [
        ["generate", "--n", "1", "--out", "release"],
        ["generate", "--n", "1", "--model", "diffusion/model", "--out", "/data/release"],
        ["generate", "--n", "1", "--model", "monai:bundle", "--out", "s3://bucket/release"],
        ["prepare", "cohort", "--out", "/data/prepared"],
        ["prepare", "--cohort", "virtual", "--out", "prepared"],
        ["train-autoencoder", "--cohort", "prepared", "--out", "/data/autoencoder"],
        ["train-diffusion", "--latents", "/data/latents", "--from", "old", "--out", "/data/new"],
        ["evaluate", "/data/one", "ldm=two", "--real", "/data/prepared", "--out", "/data/report"],
        ["status", "release"],
    ],
)
def test_a_relative_folder_in_rays_copy_of_the_working_directory_is_refused(
    words: list[str], job: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    told = capsys.readouterr().err
    assert "would lie in Ray's temporary copy of the working directory" in told
    assert told.count("\n") == 1


def test_names_addresses_and_full_paths_are_not(job: None) -> None:
    for place in ("demo", "monai", "monai:/data/bundle", "/data/model", "s3://bucket/model"):
        refuse_fleeting(argparse.Namespace(model=place, out="/data/release", covariates="a.csv"))
    refuse_fleeting(argparse.Namespace(perceptual="monai:NAME", cohort="virtual", start=None))


def test_elsewhere_a_relative_folder_is_the_users(tmp_path: Path) -> None:
    refuse_fleeting(argparse.Namespace(out="release", model="diffusion/model"))


@pytest.mark.parametrize("name", JOBS)
def test_no_verb_has_a_folder_that_is_not_looked_at(name: str) -> None:
    for action in cli.parser_of(name)._actions:
        if action.metavar in ("FOLDER", "DIR", "WHERE", "BIDS", "MODEL", "[NAME=]RELEASE"):
            assert action.dest in PLACES, action
