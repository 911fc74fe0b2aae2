"""Whom to cite: people, organisations, and identifiers with a slip of the pen in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.errors import ReleaseError
from manifests.metadata.people import Author, author_of, check_author, names_of
from ray_jobs.cli import main
from tests.manifests.releases import make_release

ORCID = "0000-0002-1825-0097"  # orcid.org's own example, Josiah Carberry


@pytest.mark.parametrize(
    ("text", "author"),
    [
        ("Carberry, Josiah", Author(family="Carberry", given="Josiah")),
        (
            f" Carberry, Josiah (Brown University, Providence) <https://orcid.org/{ORCID}> ",
            Author(
                family="Carberry",
                given="Josiah",
                affiliation="Brown University, Providence",
                orcid=ORCID,
            ),
        ),
        (
            "van der Berg, A. B. <0000-0002-9079-593x>",
            Author(family="van der Berg", given="A. B.", orcid="0000-0002-9079-593X"),
        ),
        ("The Example Lab", Author(organisation="The Example Lab")),
        ("The Example Lab (Oxford)", Author(organisation="The Example Lab (Oxford)")),
        (
            "Department of X, Brown <https://ror.org/05gq02987>",
            Author(organisation="Department of X, Brown", ror="05gq02987"),
        ),
    ],
)
def test_a_line_is_a_person_or_an_organisation(text: str, author: Author) -> None:
    assert check_author(text) == author
    assert author_of(text) == author


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Carberry, Josiah <0000-0002-1825-0098>", "the ORCID 0000-0002-1825-0098 is mistyped"),
        ("Carberry, Josiah <0000-0002-1852-0097>", "is mistyped"),
        ("Carberry, Josiah <https://ror.org/05gq02986>", "is neither an ORCID"),
        ("Carberry, Josiah <j@example.org>", "'j@example.org' is neither an ORCID"),
        (f"Josiah Carberry <{ORCID}>", 'a person is "Family, Given'),
        ("Carberry, J., PhD", 'a person is "Family, Given'),
        ("", "expected a name"),
        ("A\x1b[31m", "expected a name"),
        ("A" * 1001, "expected a name"),
        ("A <b> c", "expected a name"),
    ],
)
def test_what_is_neither_is_told_in_one_line(text: str, line: str) -> None:
    with pytest.raises(ReleaseError, match=r"^author ") as refused:
        check_author(text)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not author_of(text).family  # of an older release: an organisation


def test_every_single_slip_in_an_orcid_is_seen() -> None:
    for place, character in enumerate(ORCID):
        for other in "0123456789":
            if character in ("-", other):
                continue
            wrong = ORCID[:place] + other + ORCID[place + 1 :]
            with pytest.raises(ReleaseError, match="mistyped"):
                check_author(f"Carberry, Josiah <{wrong}>")


def test_a_citation_names_people_as_people_are_named() -> None:
    assert names_of(["Lovelace, Ada (A Lab)", "The Example Lab"]) == "Ada Lovelace; The Example Lab"


def test_publish_and_generate_refuse_a_mistyped_orcid_before_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(tmp_path / "r", 2)
    before = (tmp_path / "r" / "release.json").read_bytes()
    wrong = "Carberry, Josiah <0000-0002-1825-0098>"
    words = ["--license", "CC-BY-4.0", "--author", wrong]
    assert main(["publish", str(tmp_path / "r"), *words]) == 2
    assert "is mistyped" in capsys.readouterr().err
    assert (tmp_path / "r" / "release.json").read_bytes() == before
    assert main(["generate", "--n", "2", "--out", str(tmp_path / "g"), "--author", wrong]) == 2
    assert "is mistyped" in capsys.readouterr().err
    assert not (tmp_path / "g").exists()
