"""A situation: what a folder holds, how it is made, and with which options it is prepared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Situation:
    """One line of the page.

    Attributes:
        what: in Markdown; no two are alike.
        make: writes it into an empty BIDS folder.
        options: of `brainpress prepare`, besides the folder, --preset tiny and --out.
    """

    what: str
    make: Callable[[Path], object]
    options: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Group:
    """Situations under one heading, and a sentence or two about them."""

    title: str
    about: str
    situations: tuple[Situation, ...]
