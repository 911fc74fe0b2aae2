"""Whether the licence of a release keeps to what the licence of its model asks.

By the licences' own words: Creative Commons 4.0, sections 2(a)(1), 2(a)(5) and 3(b), and 3.0,
section 4(b); compatible licences as https://creativecommons.org/compatiblelicenses lists them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manifests.format.licenses import license_of_model, spdx_id

# They ask nothing, or nothing of what a model draws.
FREE = {
    *("CC0-1.0", "PDDL-1.0", "Unlicense", "MIT-0", "0BSD", "MIT", "Apache-2.0", "ISC"),
    *("BSD-2-Clause", "BSD-3-Clause", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0"),
}
WAIVERS = {"CC0-1.0", "PDDL-1.0", "Unlicense", "MIT-0", "0BSD"}
# Share-alike licences that another's terms may be taken to, one way.
COMPATIBLE = {"CC-BY-SA-4.0": {"LAL-1.3", "GPL-3.0-only", "GPL-3.0-or-later"}}
_CREATIVE_COMMONS = re.compile(r"CC-BY(-NC)?(-ND|-SA)?-(\d\.\d)(-[A-Z]+)?")


@dataclass(frozen=True, kw_only=True)
class _Terms:
    """What a Creative Commons licence asks."""

    version: tuple[int, ...]
    non_commercial: bool
    no_derivatives: bool
    share_alike: bool


def license_conflict(license: str, card: Mapping[str, Any]) -> str | None:
    """Why a release may not be under `license`, by the licence that its model's card names.

    None where it may, or where the card names none.

    >>> license_conflict("CC-BY-SA-4.0", {"license": "CC BY-SA 3.0"}) is None
    True
    >>> license_conflict("CC0-1.0", {"license": "CC-BY-4.0"})
    'the model is under CC-BY-4.0, which asks for attribution, and CC0-1.0 waives it'
    """
    name, text = license_of_model(card)
    if not text:
        return None
    model = spdx_id(text)
    whose = (
        "the model's card asks of releases" if name == "release_license" else "the model is under"
    )
    if model is None or model.startswith("LicenseRef-"):
        if text.strip() == license:
            return None
        return f"{whose} {text}, and nobody can tell from that whether {license} is allowed"
    why = _why_not(model, license)
    return f"{whose} {model}, which {why}" if why else None


def _why_not(model: str, license: str) -> str | None:
    asked, given = _terms(model), _terms(license)
    if asked is not None and asked.no_derivatives:
        return "forbids to share what is made from it"
    if model == license or model in FREE:
        return None
    if asked is None:
        if model == "ODC-By-1.0":
            return _unless_waived(license)
        return f"asks things of its own, and nobody can tell from that whether {license} is allowed"
    if asked.share_alike:
        kept = given is not None and given.share_alike
        kept = kept and given is not None and given.non_commercial == asked.non_commercial
        later = asked.version > (1, 0) and given is not None and given.version >= asked.version
        if (kept and later) or license in COMPATIBLE.get(model, ()):
            return None
        return f"asks that what is made from it keeps it or a later version of it, not {license}"
    if asked.non_commercial and not (given is not None and given.non_commercial):
        return f"forbids commercial use, and {license} does not"
    return _unless_waived(license)


def _unless_waived(license: str) -> str | None:
    return f"asks for attribution, and {license} waives it" if license in WAIVERS else None


def _terms(license: str) -> _Terms | None:
    found = _CREATIVE_COMMONS.fullmatch(license)
    if found is None:
        return None
    return _Terms(
        version=tuple(map(int, found[3].split("."))),
        non_commercial=bool(found[1]),
        no_derivatives=found[2] == "-ND",
        share_alike=found[2] == "-SA",
    )
