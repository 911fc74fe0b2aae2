"""Whether an image shows a person is said by a passed audit of these very images, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manifests.format.evaluation import FAILED
from manifests.publish.plan import PublishOptions
from manifests.publish.publication import publish
from manifests.query.release import Release
from manifests.verify import verify
from manifests.volumes.download import download
from ray_jobs.cli import main
from tests.manifests.evaluations import evaluate
from tests.manifests.publish.test_publication import grow
from tests.manifests.releases import make_release

NONE, NOT = "None shows a person", "not audited"


def wherever_it_is_told(folder: Path) -> dict[str, str]:
    """README, page, croissant.json and dataset_description.json, those that are there."""
    found = {}
    for name in ("README.md", "index.html", "croissant.json", "dataset_description.json"):
        if (folder / name).exists():
            found[name] = (folder / name).read_text()
    page = found.get("index.html", "")
    if page:
        found["index.html"] = page[: page.index("<dl")]  # not the card, which is the README
    for name in ("croissant.json", "dataset_description.json"):
        found[name] = json.dumps(json.loads(found[name]))
    return found


def publishes(folder: Path, evaluation: Path | None = None, **options: Any) -> None:
    wanted = {"license": "CC-BY-4.0", "date": "2026-11-23", "authors": ("A. Lab",), **options}
    done = publish(Release.open(folder), PublishOptions(**wanted, evaluation=evaluation))
    assert done.report.ok, done.report.findings


def test_without_an_audit_nothing_is_claimed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(tmp_path, 2)
    publishes(tmp_path)
    told = wherever_it_is_told(tmp_path)
    assert len(told) == 4
    for text in told.values():
        assert NOT in text
        assert NONE not in text
    assert "Nobody was scanned" not in (tmp_path / "index.html").read_text()
    assert main(["info", str(tmp_path)]) == 0
    assert NOT in capsys.readouterr().out


def test_a_passed_audit_of_all_of_them_says_it_and_a_larger_release_no_more(
    tmp_path: Path,
) -> None:
    make_release(tmp_path / "r", 3)
    publishes(tmp_path / "r", evaluate(tmp_path / "e", tmp_path / "r"))
    download(Release.open(tmp_path / "r"), tmp_path / "d", limit=1)
    for folder in ("r", "d"):
        for text in wherever_it_is_told(tmp_path / folder).values():
            assert f"{NONE}, by the privacy audit of these images" in text
    grow(tmp_path / "r", 5)
    publishes(tmp_path / "r")
    download(Release.open(tmp_path / "r"), tmp_path / "d2", limit=1)
    for folder in ("r", "d2"):
        for text in wherever_it_is_told(tmp_path / folder).values():
            assert NONE not in text
            assert "The privacy audit passed 3 of them" in text
            assert NOT in text


@pytest.mark.parametrize("options", [{"limit": 2}, {"refused": (1,)}], ids=["some", "refused"])
def test_an_audit_of_some_says_of_how_many(tmp_path: Path, options: Any) -> None:
    make_release(tmp_path / "r", 3)
    publishes(tmp_path / "r", evaluate(tmp_path / "e", tmp_path / "r", **options))
    for text in wherever_it_is_told(tmp_path / "r").values():
        assert "The privacy audit passed 2 of them" in text
        assert NONE not in text


def test_a_failed_one_says_so_at_the_top(tmp_path: Path) -> None:
    make_release(tmp_path / "r", 3)
    evaluation = evaluate(tmp_path / "e", tmp_path / "r", verdict=FAILED)
    publishes(tmp_path / "r", evaluation, despite_failed_audit=True)
    for text in wherever_it_is_told(tmp_path / "r").values():
        assert "The privacy audit FAILED" in text
        assert NONE not in text
    assert verify(Release.open(tmp_path / "r")).findings == []
