"""Networks of others: the file that was meant is the one that is used, and says so."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import pytest

from ray_jobs.errors import JobError
from ray_jobs.evaluation.measuring.networks import asked


def given(**options: str | None) -> argparse.Namespace:
    return argparse.Namespace(**{"medicalnet": None, "radimagenet": None, **options})


def test_a_file_is_told_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "ResNet50.pt"
    path.write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    assert asked(given()) == []
    for words in (str(path), f"{path}#sha256={sha256}", f"{path}#sha256={sha256.upper()}"):
        (found,) = asked(given(radimagenet=words))
        assert (found.network, found.path, found.sha256) == ("radimagenet", str(path), sha256)
        assert found.told() == {"file": "ResNet50.pt", "sha256": sha256}


def test_two_networks_may_be_asked_at_once(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).write_text(name)
    both = given(medicalnet=str(tmp_path / "one"), radimagenet=str(tmp_path / "other"))
    assert [weights.network for weights in asked(both)] == ["medicalnet", "radimagenet"]


@pytest.mark.parametrize("pinned", ["0" * 64, "", "not hexadecimal"])
def test_another_file_than_was_meant_is_refused(tmp_path: Path, pinned: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"cut sho")
    with pytest.raises(JobError, match=r"--medicalnet .*its sha256 is .*, expected .*fetch it"):
        asked(given(medicalnet=f"{path}#sha256={pinned}"))


def test_an_absent_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no such file"):
        asked(given(radimagenet=f"{tmp_path / 'absent'}#sha256=00"))
