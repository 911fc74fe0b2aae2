"""The page of a release: one static page to look at it, search it and take a part of it."""

from __future__ import annotations

from manifests.page.build import page_files

__all__ = ["page_files"]
