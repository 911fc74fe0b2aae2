"""Which machines may print into a folder: those that see what the driver sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manifests.storage import open_to_write
from ray_jobs import reach
from ray_jobs.generation.driving.shared_folder import SharedFolder
from ray_jobs.reach import Note, Reached

RESERVE = {"num_cpus": 1, "num_gpus": 0}


def machine(name: str, **resources: float) -> dict[str, Any]:
    return {"NodeID": name, "Alive": True, "Resources": resources}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "PATIENCE_SECONDS", 0.0)


def test_a_machine_of_the_same_folder_prints_and_nothing_stays_there(tmp_path: Path) -> None:
    driver, worker = (open_to_write(tmp_path / "release") for _ in range(2))
    folder = SharedFolder(driver)
    found = reach.reach(worker, folder.note, "b")
    assert list(driver.list()) == []
    assert folder.why_not(found) == ""
    assert folder.selector() == {}
    driver.delete(folder.note.key)  # as another run's sweep does after a day
    again = reach.reach(worker, folder.note, "b")
    assert folder.why_not(again) == ""
    folder.close()
    assert list((tmp_path / "release").rglob("*")) == []


def test_a_machine_with_a_disk_of_its_own_is_told_once_and_left_out(tmp_path: Path) -> None:
    folder = SharedFolder(open_to_write(tmp_path / "here"))
    there = open_to_write(tmp_path / "there")
    found = reach.reach(there, folder.note, "b")
    why = folder.why_not(found)
    told = folder.leave_out("2222222222", found, why)
    assert told.startswith("machine b (node 22222222) is left out: it does not share the folder")
    assert folder.leave_out("2222222222", found, why) == ""
    assert folder.selector() == {"label_selector": {"ray.io/node-id": "!in(2222222222)"}}
    assert not (tmp_path / "there").exists()


def test_a_machine_whose_notes_the_driver_does_not_see_is_left_out(tmp_path: Path) -> None:
    """It has an old copy of the folder, or one that it alone writes to."""
    folder = SharedFolder(open_to_write(tmp_path / "here"))
    copy = open_to_write(tmp_path / "copy")
    copy.put(folder.note.key, folder.note.text.encode())
    found = reach.reach(copy, folder.note, "b")
    assert folder.why_not(found) == "what it writes there is not seen on the driver's"
    other = Note(key=folder.note.key, text="another run's")
    assert reach.reach(copy, other, "b").why_not


def test_a_run_ends_once_every_machine_with_room_is_left_out(tmp_path: Path) -> None:
    folder = SharedFolder(open_to_write(tmp_path))
    head = machine("head", CPU=0.0)
    machines = [head, machine("b", CPU=2.0), machine("c", CPU=2.0)]
    folder.leave_out("b", Reached(host="hb"), "why")
    assert folder.nobody(machines, RESERVE) == ""
    assert folder.nobody(machines, {"num_cpus": 1, "num_gpus": 1})
    folder.leave_out("c", Reached(host="hc"), "why")
    told = folder.nobody(machines, RESERVE)
    assert f"--out {tmp_path}: of 2 machines that joined (hb, hc) none shares this folder" in told
    assert "NFS" in told
    assert "s3://" in told
