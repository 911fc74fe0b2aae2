"""A figure, its interval and its number, as a report writes them."""

from __future__ import annotations

from typing import Any


def shown(figure: dict[str, Any]) -> str:
    """`0.951 (0.94 to 0.962, n = 500)`, and its caution where it has one."""
    if figure["value"] is None:
        return "not defined"
    of = f"n = {figure['n']:,}"
    if figure.get("n_reference") is not None:
        of += f" / {figure['n_reference']:,}"
    of += noted(figure)
    if figure["low"] is None:
        return f"{figure['value']:.3g} ({of})"
    return f"{figure['value']:.3g} ({figure['low']:.3g} to {figure['high']:.3g}, {of})"


def brief(figure: dict[str, Any]) -> str:
    """`0.951 (0.94 to 0.962)`: where its number stands beside it."""
    if figure["value"] is None:
        return "not defined"
    return "{value:.2f} ({low:.2f} to {high:.2f}".format(**figure) + f"{noted(figure)})"


def noted(figure: dict[str, Any]) -> str:
    """`; few: 17`, the caution beside a figure; empty where it needs none."""
    return f"; {figure['caution']}" if figure.get("caution") else ""
