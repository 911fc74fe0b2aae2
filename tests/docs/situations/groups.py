"""All situations, in the order of the page."""

from __future__ import annotations

from tests.docs.situations import choices, files, headers, intensities, sights, tables
from tests.docs.situations.situation import Group

GROUPS: tuple[Group, ...] = (
    sights.GROUP,
    files.GROUP,
    headers.GROUP,
    intensities.GROUP,
    choices.GROUP,
    tables.TABLES,
    tables.DATASETS,
)
