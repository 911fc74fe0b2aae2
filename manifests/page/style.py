"""The look that the page of a release and the report of its evaluation share."""

from __future__ import annotations

from importlib.resources import files

BASE = "base.css"


def base_css() -> str:
    """Colours, letters, tables and figures; what is the page's alone is in page.css."""
    return (files("manifests.page") / "assets" / BASE).read_text("utf-8")
