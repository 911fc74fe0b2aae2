"""Whom to cite: people and organisations, as one line of text each, with their ORCID or ROR."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from manifests.errors import ReleaseError
from manifests.text import is_plain, one_line

ORCID_URL, ROR_URL = "https://orcid.org/", "https://ror.org/"
GRAMMAR = (
    'a person is "Family, Given (Affiliation) <ORCID>", an organisation "Name" or "Name <ROR>";'
    " affiliation and identifier may be left out"
)
MOST_CHARACTERS = 1_000
_LINE = re.compile(
    r"(?P<name>[^()<>]+?)\s*(?:\((?P<affiliation>.*)\))?\s*(?:<(?P<identifier>[^<>]+)>)?"
)
_ORCID = re.compile(r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]")
_ROR = re.compile(r"0[0-9a-hjkmnp-tv-z]{6}\d\d")
_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's, of which a ROR id is made


@dataclass(frozen=True, kw_only=True)
class Author:
    """One author of a dataset.

    Attributes:
        family, given: of a person; "" of an organisation.
        organisation: its name; "" of a person.
        affiliation: of a person, "" where none was told.
        orcid, ror: the identifier alone, such as 0000-0002-1825-0097; "" where none was told.
    """

    family: str = ""
    given: str = ""
    organisation: str = ""
    affiliation: str = ""
    orcid: str = ""
    ror: str = ""

    @property
    def name(self) -> str:
        """As people write it: "Ada Lovelace"."""
        return self.organisation or f"{self.given} {self.family}"

    @property
    def index_name(self) -> str:
        """As a catalogue sorts it: "Lovelace, Ada"."""
        return self.organisation or f"{self.family}, {self.given}"

    @property
    def url(self) -> str:
        """The address of the identifier; "" where there is none."""
        if self.orcid:
            return ORCID_URL + self.orcid
        return ROR_URL + self.ror if self.ror else ""


def check_author(text: str) -> Author:
    """The author that a line of text names.

    >>> check_author("Lovelace, Ada (Example Lab) <https://orcid.org/0000-0002-1825-0097>").orcid
    '0000-0002-1825-0097'
    >>> check_author("The Example Lab").organisation
    'The Example Lab'

    Raises:
        ReleaseError: what it is not: found and expected.
    """
    found = _LINE.fullmatch(text.strip()) if len(text) <= MOST_CHARACTERS else None
    if not found or not is_plain(text):
        raise ReleaseError(f"author {text!a:.100}: expected a name; {GRAMMAR}")
    identifier = (found["identifier"] or "").strip()
    bare = re.sub(r"https?://(www\.)?(orcid|ror)\.org/", "", identifier).rstrip("/")
    orcid, ror = bare.upper(), bare.lower()
    parts = [part.strip() for part in found["name"].split(",")]
    if _ROR.fullmatch(ror) and _ror_checks(ror):
        return Author(organisation=one_line(found["name"]), ror=ror)
    if identifier and not _ORCID.fullmatch(orcid):
        raise ReleaseError(
            f"author {text!a:.100}: {identifier!a:.60} is neither an ORCID such as"
            " 0000-0002-1825-0097 nor a ROR such as https://ror.org/05gq02987; look it up at"
            " https://orcid.org or https://ror.org"
        )
    if identifier and not _orcid_checks(orcid):
        raise ReleaseError(
            f"author {text!a:.100}: the ORCID {orcid} is mistyped (its last digit does not fit the"
            " others); look it up at https://orcid.org"
        )
    if len(parts) == 2 and all(parts):
        about = {"affiliation": one_line(found["affiliation"] or ""), "orcid": orcid}
        return Author(family=one_line(parts[0]), given=one_line(parts[1]), **about)
    if identifier or len(parts) > 1:
        raise ReleaseError(f"author {text!a:.100}: {GRAMMAR}")
    affiliation = f" ({found['affiliation']})" if found["affiliation"] else ""
    return Author(organisation=one_line(found["name"] + affiliation))


def author_of(text: str) -> Author:
    """The author that a release names; whatever is no person is an organisation of that name."""
    try:
        return check_author(text)
    except ReleaseError:
        return Author(organisation=one_line(text))


def names_of(authors: Iterable[str]) -> str:
    """The names of a release's authors, for a citation: "Ada Lovelace; The Example Lab"."""
    return "; ".join(author_of(text).name for text in authors)


def _orcid_checks(orcid: str) -> bool:
    """ISO 7064, MOD 11-2: the last character is that of the fifteen digits before it."""
    characters = orcid.replace("-", "")
    total = 0
    for digit in characters[:15]:
        total = (total + int(digit)) * 2
    return "0123456789X"[(12 - total % 11) % 11] == characters[15]


def _ror_checks(ror: str) -> bool:
    """ISO 7064, MOD 97-10: the last two digits are those of the six characters before them."""
    number = 0
    for character in ror[1:7]:
        number = number * 32 + _BASE32.index(character)
    return 98 - number * 100 % 97 == int(ror[7:])
