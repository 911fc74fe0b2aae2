"""The tool that segments, as the job knows it: what it tells of itself, and its answer as rows."""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any, Protocol

import numpy as np

from ldm.anatomy.regions import REGIONS
from manifests.format.licenses import spdx_id
from manifests.format.segmentation.about import Region, Segmentation
from manifests.text import one_line
from ray_jobs.errors import JobError

LOADER = "ldm.measuring.regions:load_region_tool"


class Found(Protocol):
    """What a tool found in an image."""

    def labels_on(self, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
        """The label map on a lattice, (X, Y, Z) uint8."""

    def volumes(self) -> dict[str, float]:
        """mm3 by the key of the region."""


class Tool(Protocol):
    """What segments.

    Attributes:
        name: of the tool.
        fingerprint: SHA-256 of its files.
        document: its model.json, with its `card`.
    """

    name: str
    fingerprint: str
    document: dict[str, Any]

    def segment(self, data: np.ndarray, affine: np.ndarray) -> Found:
        """Raises LdmError where the image cannot be a brain cut out of its head."""


def load_tool(loader: str) -> Tool:
    """The tool that `module:function` gives.

    Raises:
        JobError: there is no such function. LdmError: the tool is damaged.
    """
    try:
        load = resolve_name(loader)
    except (ImportError, AttributeError, ValueError) as error:
        raise JobError(f"loader {loader}: {error}; expected module:function") from error
    tool: Tool = load()
    return tool


def told_by(tool: Tool) -> Segmentation:
    """What a release tells of label maps by this tool."""
    card = _card(tool.document)
    return Segmentation(
        tool=one_line(tool.name),
        fingerprint=tool.fingerprint,
        license=spdx_id(card["license"]) or card["license"] or "not stated",
        attribution=card["attribution"],
        description=card["description"],
        images=0,
        regions=tuple(
            Region(
                number=region.number,
                name=region.name,
                key=region.key,
                abbreviation=region.short,
                colour=region.colour,
                mapping=region.bids,
            )
            for region in REGIONS
        ),
    )


def _card(document: Mapping[str, Any]) -> dict[str, str]:
    card = document.get("card")
    found = card if isinstance(card, Mapping) else {}
    names = ("license", "attribution", "description")
    return {name: one_line(found.get(name) or "")[:2000] for name in names}
