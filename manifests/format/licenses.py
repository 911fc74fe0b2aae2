"""The licences whose texts a release points to, and which of them a release is to have."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from manifests.errors import ReleaseError

LICENSE_URLS = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/legalcode",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/legalcode",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/legalcode",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/legalcode",
    "CC-BY-NC-4.0": "https://creativecommons.org/licenses/by-nc/4.0/legalcode",
    "PDDL-1.0": "https://opendatacommons.org/licenses/pddl/1-0/",
}


def check_license(text: str) -> str:
    """The SPDX identifier that `text` is, in any case.

    Raises:
        ReleaseError: none that a release points to.
    """
    for name in LICENSE_URLS:
        if text.strip().lower() == name.lower():
            return name
    close = difflib.get_close_matches(text.upper(), LICENSE_URLS, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise ReleaseError(f"licence {text!a:.60}: expected one of {', '.join(LICENSE_URLS)}{hint}")


def license_of_model(card: Mapping[str, Any]) -> tuple[str, str]:
    """The licence that a model's card asks of releases, and the card's words for it; "" for none.

    `release_license` says it; else the model's own `license` is what it was given under.
    """
    for name in ("release_license", "license"):
        if isinstance(text := card.get(name), str) and text and text != "not stated":
            return name, text
    return "", ""


def license_warning(chosen: str, card: Mapping[str, Any]) -> str | None:
    """A line for who chose another licence than the model's card names; None where it is the same.

    >>> license_warning("CC-BY-SA-3.0", {"license": "CC BY-SA 3.0"}) is None
    True
    """
    name, text = license_of_model(card)
    if not text or _bare(text) == _bare(chosen):
        return None
    asked = name == "release_license"
    whose = "the model's card asks for releases" if asked else "the model itself is"
    return (
        f"{whose} under {text}, and this release is under {chosen}: make sure that you may give it"
        " to others on those terms"
    )


def _bare(text: str) -> str:
    """Without what people write differently: CC BY-SA 3.0, CC-BY-SA-3.0."""
    return "".join(letter for letter in text.upper() if letter.isalnum() or letter == ".")
