"""What `publish` asks of a person, who may answer wrongly."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from manifests.commands.publishing.choosing import with_authors, with_license
from manifests.errors import ReleaseError
from manifests.publish.plan import PublishOptions
from manifests.query.release import Release
from tests.manifests.releases import make_release

OPTIONS = PublishOptions(date="2026-01-01")


class Person(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def release(tmp_path: Path) -> Release:
    make_release(tmp_path / "release", 2)
    return Release.open(tmp_path / "release")


def answers(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", Person("".join(f"{line}\n" for line in lines)))


def test_a_licence_that_nobody_knows_is_asked_for_again(
    release: Release, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, "99", "", "my own", "1")
    chosen = with_license(release, OPTIONS)
    told = capsys.readouterr().err
    assert chosen.license is not None
    assert told.count("number (1 to ") == 4
    assert told.count("once more (Ctrl-C leaves)") == 3
    first = next(line for line in told.splitlines() if line.startswith("  1  "))
    assert first.split()[1] == chosen.license


def test_authors_are_asked_for_again(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, " ; ", "The Example Lab; Ada Lovelace")
    licensed = replace(OPTIONS, license="CC-BY-SA-4.0")
    assert with_authors(release, licensed).authors == ("The Example Lab", "Ada Lovelace")


def test_whoever_leaves_publishes_nothing(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch)
    with pytest.raises(ReleaseError, match="no answer; nothing was written"):
        with_license(release, OPTIONS)
