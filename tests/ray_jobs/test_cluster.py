"""Which Ray a job joins, and what it says where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ray_jobs import cluster
from ray_jobs.errors import JobError
from tests import ROOT
from tests.ports import free_ports


def test_a_ray_is_joined_where_one_is_named_or_still_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert not cluster.joins()
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
    assert not cluster.joins()
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert not cluster.joins()
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert cluster.joins()


def test_a_ray_of_our_own_leaves_nothing_in_the_user_s_home(tmp_path: Path) -> None:
    program = "from ray_jobs.cluster import session\nwith session() as found: print(found.own)"
    left_out = ("RAY_", "AWS_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**kept, "HOME": str(tmp_path), "RAY_ADDRESS": "local", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "True\n", done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("late", [2, 3])
def test_an_own_ray_that_a_busy_machine_starts_too_late_is_started_again(
    monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    """Ray gives its own node 30 s and then raises this; a third try is the last."""
    import ray

    begun: list[object] = []

    def init(**settings: object) -> None:
        begun.append(settings)
        if len(begun) <= late:
            raise Exception("The current node timed out during startup. This could happen ...")

    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 32)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(cluster, "_offer", lambda own: own)
    monkeypatch.setattr(cluster, "_own", False)  # put back for later tests
    if late < cluster.STARTS:
        assert cluster.connect()
    else:
        with pytest.raises(JobError) as refusal:
            cluster.connect()
        assert str(refusal.value) == (
            "Ray on this machine: it did not start in 3 tries of 30 s; is the machine busy?"
        )
    assert len(begun) == cluster.STARTS
    assert all(settings == begun[0] for settings in begun)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    [port] = free_ports(1)
    monkeypatch.setenv("RAY_ADDRESS", f"{scheme}127.0.0.1:{port}")
    monkeypatch.setenv("RAY_NUM_REDIS_GET_RETRIES", "20")  # not to be changed for later tests
    monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 0.3)
    begun = time.monotonic()
    with pytest.raises(JobError) as refusal:
        cluster.connect()
    assert time.monotonic() - begun < 20, "Ray itself was asked, which takes 20 minutes"
    assert str(refusal.value).startswith(
        f"Ray on {scheme}127.0.0.1:{port}: nobody answers there (Connection refused); "
    )
    assert "RAY_ADDRESS=local uses this machine alone" in str(refusal.value)
    assert refusal.value.exit_code == 1


@pytest.mark.parametrize(
    ("folder", "settings"),
    [
        ("/tmp", {}),
        ("/scratch/me", {}),
        ("/scratch/müller", {"_temp_dir": "/tmp/ray"}),
        ("/scratch/" + "a" * 30, {"_temp_dir": "/tmp/ray"}),
    ],
)
def test_a_folder_that_rays_sockets_do_not_fit_in_is_not_used(
    monkeypatch: pytest.MonkeyPatch, folder: str, settings: dict[str, str]
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", folder)
    assert cluster.temporary_folder() == settings
