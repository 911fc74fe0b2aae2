"""The licences that a release may have, by their SPDX identifiers, and where their texts stand."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from manifests.errors import ReleaseError

_CC = "https://creativecommons.org"
# Of data; a person at a terminal is offered these. Any other of SPDX is taken too.
LICENSE_URLS = {
    "CC0-1.0": f"{_CC}/publicdomain/zero/1.0/legalcode",
    "CC-BY-4.0": f"{_CC}/licenses/by/4.0/legalcode",
    "CC-BY-SA-4.0": f"{_CC}/licenses/by-sa/4.0/legalcode",
    "CC-BY-SA-3.0": f"{_CC}/licenses/by-sa/3.0/legalcode",
    "CC-BY-NC-4.0": f"{_CC}/licenses/by-nc/4.0/legalcode",
    "CC-BY-NC-SA-4.0": f"{_CC}/licenses/by-nc-sa/4.0/legalcode",
    "CC-BY-NC-ND-4.0": f"{_CC}/licenses/by-nc-nd/4.0/legalcode",
    "CC-BY-ND-4.0": f"{_CC}/licenses/by-nd/4.0/legalcode",
    "PDDL-1.0": "https://opendatacommons.org/licenses/pddl/1-0/",
    "ODC-By-1.0": "https://opendatacommons.org/licenses/by/1-0/",
    "ODbL-1.0": "https://opendatacommons.org/licenses/odbl/1-0/",
}
OWN = "LicenseRef-"  # of a licence that SPDX does not list: its text goes with the release
_SHORT = {"CC0": "CC0-1.0", "PDDL": "PDDL-1.0", "ODBL": "ODbL-1.0", "APACHE": "Apache-2.0"}
_RESTRICTIONS = {"NC", "ND", "SA"}


def check_license(text: str) -> str:
    """The SPDX identifier that `text` is, in any case, or a `LicenseRef-` of one's own.

    Raises:
        ReleaseError: it is neither. What is suggested never allows more than what was written.
    """
    if (name := spdx_id(text, words=False)) is not None:
        return name
    asked = _restrictions(text)
    alike = [name for name in LICENSE_URLS if _restrictions(name) == asked]
    close = difflib.get_close_matches(text.strip(), alike, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise ReleaseError(
        f"licence {text!a:.60}: expected an SPDX identifier (https://spdx.org/licenses), such as"
        f" {', '.join(list(LICENSE_URLS)[:3])}, or {OWN}NAME with --license-file{hint}"
    )


def spdx_id(text: str, *, words: bool = True) -> str | None:
    """The one SPDX identifier that `text` is; None where it is none, or several.

    >>> spdx_id("CC BY-SA 3.0"), spdx_id("by kind permission")
    ('CC-BY-SA-3.0', None)

    Args:
        words: whether it may be written as people write it, with spaces.
    """
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    bare = text.strip()
    if words:
        bare = re.sub(r"[\s_-]+", "-", _SHORT.get(bare.upper(), bare))
    if not re.fullmatch(r"[A-Za-z0-9.+-]{1,100}", bare):
        return None
    try:
        return str(canonicalize_license_expression(bare))
    except InvalidLicenseExpression:
        return None


def license_url(license: str) -> str | None:
    """Where the text of a licence stands; None of one that is nobody else's."""
    if license in LICENSE_URLS:
        return LICENSE_URLS[license]
    known = spdx_id(license, words=False)
    if known is None or known.startswith(OWN):
        return None
    return f"https://spdx.org/licenses/{known}.html"


def license_of_model(card: Mapping[str, Any]) -> tuple[str, str]:
    """The licence that a model's card asks of releases, and the card's words for it; "" for none.

    `release_license` says it; else the model's own `license` is what it was given under.
    """
    for name in ("release_license", "license"):
        if isinstance(text := card.get(name), str) and text and text != "not stated":
            return name, text
    return "", ""


def _restrictions(text: str) -> set[str]:
    return _RESTRICTIONS & set(re.split(r"[^A-Z]+", text.upper()))
