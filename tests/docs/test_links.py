"""No page has a dead link, neither as the repository shows it nor in the site of `make docs`."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests import ROOT
from tests.docs.site import FENCED, LINK, build, rewritten, site_pages

FOLDERS = ("docs", "infra", "tests", "ldm", "manifests", "ray_jobs")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def pages() -> list[Path]:
    below = (path for name in FOLDERS for path in (ROOT / name).rglob("*.md"))
    return sorted([*ROOT.glob("*.md"), *below])


def prose(page: Path) -> str:
    return "".join(FENCED.split(page.read_text())[::2])


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of the headings."""
    found: Counter[str] = Counter()
    names = set()
    for heading in HEADING.findall(prose(page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return names


def dead(page: Path) -> list[str]:
    """The links of a page that lead nowhere in the repository."""
    found = []
    for target in (link["target"] for link in LINK.finditer(prose(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        is_lost = anchor and there.suffix == ".md" and anchor not in anchors(there)
        if not there.exists() or is_lost:
            found.append(target)
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere_in_the_repository(page: Path) -> None:
    assert dead(page) == []


def test_a_dead_link_and_a_dead_anchor_are_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# One `head`, two\n")
    page = tmp_path / "page.md"
    page.write_text("[a](there.md#one-head-two) [b](there.md#three) [c](gone.md) ![d](no.png)\n")
    assert dead(page) == ["there.md#three", "gone.md", "no.png"]


def test_every_page_of_docs_is_in_the_table_of_contents() -> None:
    contents = prose(ROOT / "docs" / "index.md")
    linked_to = {link["target"] for link in LINK.finditer(contents)}
    docs = ROOT / "docs"
    there = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    notebooks = {path.relative_to(docs).as_posix() for path in docs.rglob("*.ipynb")}
    assert (there | notebooks) - linked_to == {"index.md"}


# myst-parser's own; nothing of ours asks for it.
@pytest.mark.filterwarnings("ignore:.*MystReferenceResolver")
def test_the_site_is_built_and_nothing_is_wrong_with_it(tmp_path: Path) -> None:
    assert build(tmp_path / "site") == []
    student = (tmp_path / "site" / "notebooks" / "student.html").read_text()
    assert "32 subjects: 32 prepared now" in student
    runbook = (tmp_path / "site" / "infra" / "README.html").read_text()
    assert 'href="../slurm.html"' in runbook
    assert "fonts.googleapis" not in runbook


@pytest.mark.parametrize(
    ("page", "written", "shown"),
    [
        ("slurm.md", "[a](../infra/README.md#2-the-image)", "[a](infra/README.md#2-the-image)"),
        ("slurm.md", "[a](../README.md)", "[a](README.md)"),
        ("slurm.md", "[a](../Makefile)", "a"),
        ("slurm.md", "[a](https://example.org)", "[a](https://example.org)"),
        ("slurm.md", "```\n[a](../Makefile)\n```", "```\n[a](../Makefile)\n```"),
        ("slurm.md", "[a](gone.md)", "[a](gone.md)"),
        ("README.md", "![a](docs/page.png) [b](LICENSE)", "![a](page.png) b"),
        ("evaluation/README.md", "[a](../../CHANGELOG.md)", "[a](../CHANGELOG.md)"),
        ("infra/README.md", "[a](../docs/slurm.md)", "[a](../slurm.md)"),
        ("infra/README.md", "[a](training.yaml)", "a"),
    ],
)
def test_links_are_those_of_the_site_or_text(page: str, written: str, shown: str) -> None:
    assert rewritten(written, page, set(site_pages())) == shown
