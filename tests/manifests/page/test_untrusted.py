"""Text of strangers on the page of a release: shown as it is, and obeyed by no browser."""

from __future__ import annotations

import html
import json
import shlex
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from manifests.format.layout import image_path
from manifests.format.published import Published, Version
from manifests.format.schema import Column, rows_table
from manifests.metadata.staging import write_release
from manifests.page import page_files
from manifests.page.card import card_html
from manifests.page.html import address
from manifests.query.release import Release
from manifests.storage import open_store
from tests.manifests.page.test_page import Tags
from tests.manifests.releases import document, image_bytes, make_release, row
from tests.manifests.test_untrusted_text import is_harmless

VERSION = Version(
    version="1.0.0", date="2026-11-23", changes=("first",), samples=1, manifest_sha256="0" * 64
)
PLAIN = (
    "</title></script><script>alert(1)</script><img src=x onerror=alert(1)> | `c` **b** ${7} $title"
    " [x](javascript:alert(1)) \" ' onload=alert(1) &lt; <!-- --> ]]> \\"
)
ESCAPES = f"{PLAIN}\x1b[2Jb\x07c\u202ed\u2028e"
CARD_TAGS = {
    *("h3", "p", "ul", "li", "code", "pre", "strong", "div"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


class Text(HTMLParser):
    """What a page shows as text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def plain_page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return page_files(Release.open(make_release(tmp_path_factory.mktemp("plain"), 2).uri))


@pytest.fixture(scope="module")
def evil_page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The page of a release whose every free text would like to do something."""
    store = open_store(tmp_path_factory.mktemp("evil"))
    levels = ("F", PLAIN)
    columns = (
        Column(name="sex", kind="categorical", levels=levels, description=PLAIN, unit=PLAIN),
        *(
            Column(name=name, description=PLAIN, unit=PLAIN, minimum=0, maximum=10)
            for name in ("age", "ventricular_volume")
        ),
    )
    card = dict.fromkeys(("description", "attribution", "limits"), ESCAPES) | {"name": PLAIN}
    about = document(  # these four must be one plain line, or the release cannot be opened
        name=PLAIN,
        license=PLAIN,
        authors=(PLAIN,),
        software_version=PLAIN,
        columns=columns,
        model={**card, "training": {"cohort": dict.fromkeys(("dataset", "attribution"), ESCAPES)}},
        sampler={"name": ESCAPES},
    )
    images = [image_bytes(index) for index in range(2)]
    for index, data in enumerate(images):
        store.put(image_path(index), data)
    rows = [row(index, data, sex=levels[index]) for index, data in enumerate(images)]
    write_release(store, rows_table(rows, about.schema), about)
    store.put("CHANGES", f"1.0.0{ESCAPES}\n".encode())
    return page_files(Release.open(store.uri))


def test_hostile_text_adds_no_tag_and_no_attribute(
    plain_page: dict[str, bytes], evil_page: dict[str, bytes]
) -> None:
    plain, evil = (Tags(page["index.html"].decode()) for page in (plain_page, evil_page))
    own = {(tag, name) for tag, about in plain.tags for name in about}
    own |= {("strong", ""), ("td", "")}
    assert {(tag, name) for tag, about in evil.tags for name in about} <= own
    assert {tag for tag, _ in evil.tags} <= {tag for tag, _ in plain.tags} | {"strong"}
    assert sum(tag == "script" for tag, _ in evil.tags) == 3  # the page's own two, and data
    assert sum(tag == "img" for tag, _ in evil.tags) == 2 + 3
    links = evil.values("href") + evil.values("src") + evil.values("data-columns")
    assert not [link for link in links if "alert" in link]
    assert {link.partition(":")[0] for link in links if ":" in link} <= {"data"}


def test_hostile_text_is_shown_as_it_stands(evil_page: dict[str, bytes]) -> None:
    page = evil_page["index.html"].decode()
    assert is_harmless(page)
    assert is_harmless(evil_page["page/columns.json"].decode())
    text = Text(page).text
    assert text.count("<script>alert(1)</script>") > 10
    assert "${7} $title" in text
    assert "\\x1b[2J" in text
    levels = json.loads(evil_page["page/columns.json"])["columns"][1]["levels"]
    assert levels == ["F", PLAIN]


def test_the_data_card_knows_a_few_tags_and_no_link() -> None:
    card = card_html(
        f"# {PLAIN}\n\n## {PLAIN}\n\n{ESCAPES}\n\n- {PLAIN}\n- b\n\n| a | b |\n|---|---|\n"
        f"| {PLAIN} | \\| |\n\n    {PLAIN}\n\n<p onclick=x>**{PLAIN}**</p>\n\n|\n\n|--|\n"
    )
    page = Tags(card)
    assert {tag for tag, _ in page.tags} <= CARD_TAGS
    assert {name for _, about in page.tags for name in about} <= {
        *("tabindex", "scope", "class", "role", "aria-label")
    }
    assert "<script" not in card


@pytest.mark.parametrize("piece", ["*", "`", "\\", "**a", "| ", "a\n\n", "#", "- x\n", "\x1b"])
def test_a_long_card_takes_no_more_than_its_length(piece: str) -> None:
    started = time.process_time()
    card_html(piece * (200_000 // len(piece)))
    assert time.process_time() - started < 5


def test_the_page_of_a_local_release_does_not_tell_where_it_lies(tmp_path: Path) -> None:
    release = Release.open(make_release(tmp_path / "secret-folder", 1).uri)
    assert address(release.document) == "RELEASE"
    assert b"secret-folder" not in b"".join(page_files(release).values())


def test_a_page_in_a_bucket_names_it_and_a_strange_name_is_one_word(tmp_path: Path) -> None:
    store = make_release(tmp_path / "release", 1)
    words = ("s3://bucket/a $(touch x)'s", "--endpoint-url", "http://h;touch y")
    published = Published(versions=(VERSION,), address=words)
    about = {**Release.at(store).about, "published": published.to_json()}
    page = page_files(Release(store, about))["index.html"].decode()
    for start in ("brainpress download ", "aws s3 sync --no-sign-request ", "brainpress query "):
        command = html.unescape(page.partition(f"<code>{start}")[2].partition("</code>")[0])
        assert shlex.split(command)[:3] == list(words)
