"""BibTeX of a release: an entry that LaTeX reads, whatever the names are made of."""

from __future__ import annotations

from manifests.format.published import Published, Version
from manifests.page.bibtex import bibtex
from tests.manifests.releases import document

VERSION = Version(
    version="1.0.0", date="2026-11-23", changes=("first",), samples=1, manifest_sha256="0" * 64
)


def test_an_entry_names_people_organisations_version_and_doi() -> None:
    published = Published(versions=(VERSION,), doi="10.5281/zenodo.1234")
    about = document(
        name="Synthetic T1 brains",
        authors=("Lovelace, Ada (Example Lab) <0000-0002-1825-0097>", "The Example Lab"),
        published=published,
    )
    assert bibtex(about, version="1.0.0", date="2026-11-23").splitlines() == [
        "@misc{lovelace2026synthetic,",
        "  author  = {Lovelace, Ada and {The Example Lab}},",
        "  title   = {{Synthetic T1 brains}},",
        "  year    = {2026},",
        "  version = {1.0.0},",
        "  doi     = {10.5281/zenodo.1234},",
        "  note    = {Data set of synthetic brain MRI. CC-BY-SA-3.0},",
        "}",
    ]


def test_what_latex_would_obey_is_text() -> None:
    evil = "50 % of R&D_{x} \\input{/etc/passwd} $1 #2 ~ ^ é } , evil = {"
    entry = bibtex(document(name=evil, authors=(evil,)), version="", date="")
    title = next(line for line in entry.splitlines() if line.startswith("  title"))
    assert r"50 \% of R\&D\_\{x\} \textbackslash{}input\{/etc/passwd\} \$1 \#2" in title
    bare = title.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    assert entry.count("\n  ") == 3  # author, title and note; no field of its own
    assert entry.startswith("@misc{50ofrd")


def test_without_a_date_or_letters_there_is_still_a_key() -> None:
    entry = bibtex(document(name="脳", authors=("脳",)), version="", date="")
    assert entry.startswith("@misc{release,")
