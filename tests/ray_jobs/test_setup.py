"""A worker's process is set up before its work, and refuses a machine with another disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ray_jobs import reach
from ray_jobs.cluster import Cluster
from ray_jobs.errors import JobError
from ray_jobs.setup import set_up

JOINED = Cluster(own=False, nodes=2, cpus=4, gpus=0)


class Counter:
    """An actor that tells what it finds in its process."""

    def __init__(self, start: int) -> None:
        self.start, self.region = start, os.environ.get("AWS_REGION")

    def __call__(self, row: dict[str, Any]) -> int:
        return self.start + int(row["n"])


def test_work_finds_the_settings_and_the_folder_of_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with set_up(tmp_path, JOINED) as setup:
        assert "eu-west-1" not in repr(setup)
        monkeypatch.delenv("AWS_REGION")
        actor = setup.actor(Counter)(3)
        assert (actor.region, actor({"n": 4})) == ("eu-west-1", 7)
        monkeypatch.delenv("AWS_REGION")
        assert setup.function(lambda row: row["n"])({"n": 5}) == 5
        assert os.environ["AWS_REGION"] == "eu-west-1"
    assert list(tmp_path.iterdir()) == []


def test_a_machine_where_the_folder_is_another_disk_does_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "PATIENCE_SECONDS", 0.0)
    out, aside = tmp_path / "out", tmp_path / "aside"
    out.mkdir()
    with set_up(out, JOINED) as setup:
        out.rename(aside)  # what another machine sees
        out.mkdir()
        with pytest.raises(JobError, match=f"does not share --out {out} with the driver's"):
            setup.actor(Counter)(3)
        assert list(out.iterdir()) == []
        out.rmdir()
        aside.rename(out)
        assert setup.actor(Counter)(3).start == 3


def test_on_one_machine_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    with set_up(tmp_path, Cluster(own=True, nodes=1, cpus=2, gpus=0)) as setup:
        assert list(tmp_path.iterdir()) == []
        setup()
