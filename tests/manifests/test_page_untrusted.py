"""Text of strangers on the page of a release: shown as it is, and obeyed by no browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manifests.layout import RELEASE_KEY
from manifests.page import page_files
from manifests.page.build import picture_key
from manifests.page.card import card_html
from manifests.page.html import address
from manifests.query import Release
from manifests.schema import Column
from tests.manifests.page_releases import page_release
from tests.manifests.releases import document, make_release, row
from tests.manifests.test_page import Tags

HOSTILE = (
    "</title></script><script>alert(1)</script><img src=x onerror=alert(1)>"
    " [x](javascript:alert(1)) \" ' onload=alert(1) ${7} $title &lt; <!-- --> ]]>"
)
ESCAPES = "a\x1b[2Jb\x07c\u202ed\u2028e"
CARD_TAGS = {
    *("h3", "p", "ul", "li", "code", "pre", "strong", "div"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


@pytest.fixture
def evil(tmp_path: Path) -> Release:
    """A release whose every free text would like to do something."""
    store = page_release(tmp_path / "release", 5, name=HOSTILE, license=HOSTILE, authors=(HOSTILE,))
    about: dict[str, Any] = json.loads(store.get(RELEASE_KEY))
    about["model"] |= {"name": HOSTILE + ESCAPES, "description": ESCAPES}
    about["software"]["version"] = HOSTILE
    about["columns"][1] |= {"description": HOSTILE, "unit": HOSTILE[:60]}
    about["columns"][3]["description"] = HOSTILE
    store.put(RELEASE_KEY, json.dumps(about).encode())
    store.put("README.md", f"# {HOSTILE}\n\n{HOSTILE}{ESCAPES}\n\n- {HOSTILE}\n".encode())
    store.put("CHANGES", f"1.0.0{HOSTILE}\n".encode())
    release = Release(store, about)
    query = release.query
    # The manifest's own schema tells the columns another way; the page reads what it asks for.
    plain = Release.__new__(Release)
    plain.store, plain.about, plain.document = store, about, release.document
    original = json.loads(json.dumps(about))
    for column, name in zip(original["columns"], ("sex", "age", "volume", "site"), strict=True):
        assert column["name"] == name
    del query
    return plain


def test_a_page_obeys_no_text(evil: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    good = Release.open_columns if hasattr(Release, "open_columns") else None
    assert good is None
