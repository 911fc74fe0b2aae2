"""The Python of a page, run as it stands there: an image, a training loop, the manifest."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from manifests.format.published import Published
from manifests.metadata.staging import write_release
from manifests.page import page_files
from manifests.query.release import Release
from tests.manifests.page.test_bibtex import VERSION
from tests.manifests.page_releases import COLUMNS, page_release
from tests.manifests.releases import document, make_release


def block(page: bytes, name: str) -> str:
    found = re.search(rf'data-command="{name}".*?<code>(.*?)</code>', page.decode(), re.DOTALL)
    assert found is not None
    return html.unescape(re.sub("<[^>]+>", "", found[1]))


def test_it_shows_an_image_and_trains_for_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    folder = tmp_path / "release"
    store = page_release(folder, 8, failed=1)
    page = page_files(Release.open(store.uri))["index.html"]
    program = block(page, "volumes")
    assert "columns=" + str([column.name for column in COLUMNS]).replace("'", '"') in program
    names: dict[str, object] = {}
    exec(program.replace('"RELEASE"', repr(str(folder))), names)
    assert len(names["volumes"]) == 7  # type: ignore[arg-type]
    assert tuple(names["images"].shape[1:2]) == (1,)  # type: ignore[attr-defined]
    assert names["loss"].item() > 0  # type: ignore[attr-defined]
    monkeypatch.chdir(folder)
    exec(block(page, "tables"), {})


def test_in_a_bucket_it_names_the_bucket_and_its_server(tmp_path: Path) -> None:
    words = ("s3://bucket/it's", "--endpoint-url", "https://minio.example.org")
    published = Published(versions=(VERSION,), address=words)
    store = make_release(tmp_path, 1)
    about = {**Release.at(store).about, "published": published.to_json()}
    program = block(page_files(Release(store, about))["index.html"], "volumes")
    told = '"s3://bucket/it\'s", endpoint_url="https://minio.example.org",'
    assert f"Volumes(\n    {told}\n    columns=" in program


def test_without_a_number_to_learn_it_is_still_a_program(tmp_path: Path) -> None:
    store = make_release(tmp_path, 1)
    table = Release.at(store).query()
    columns = tuple(column for column in Release.at(store).document.columns if column.levels)
    gone = [c.name for c in Release.at(store).document.columns if not c.levels]
    kept = table.drop_columns([name for one in gone for name in (one, f"{one}_scaled")])
    write_release(store, kept, document(columns=columns))
    program = block(page_files(Release.open(store.uri))["index.html"], "volumes")
    assert "features = network(images)" in program
    compile(program, "page", "exec")
