"""The pictures of an evaluation's report, as PNG; the same bytes for the same figures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

INK, REAL_COLOUR, COLOURS = "#22262b", "#7a828c", ("#b5472f", "#2f6f8f", "#6d8a2f", "#8a5aa8")
DOTS_PER_INCH = 110


def scatters(panels: Sequence[Mapping[str, Any]]) -> bytes:
    """Measured against asked, a panel a covariate, as the paper's figure 3.

    Args:
        panels: each with `name`, `unit`, `asked` (N,), `measured` (N,), and a `caption`.
    """
    figure, axes = _figure(len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        asked, measured = np.asarray(panel["asked"]), np.asarray(panel["measured"])
        axis.scatter(asked, measured, s=9, alpha=0.45, linewidths=0, color=COLOURS[0])
        ends = (min(asked.min(), measured.min()), max(asked.max(), measured.max()))
        axis.plot(ends, ends, color=REAL_COLOUR, linewidth=1, linestyle=(0, (4, 3)))
        slope, start = np.polyfit(asked, measured, 1)
        reach = np.array([asked.min(), asked.max()])
        axis.plot(reach, slope * reach + start, color=INK, linewidth=1.2)
        axis.set_xlabel(f"asked, {panel['unit']}")
        axis.set_ylabel(f"measured, {panel['unit']}")
        axis.set_title(f"{panel['name']}\n{panel['caption']}", fontsize=9, loc="left")
    return _png(figure)


def spreads(panels: Sequence[Mapping[str, Any]]) -> bytes:
    """How a measure is spread over each source, a panel a measure.

    Args:
        panels: each with `name`, `unit` and `values`, arrays by source, the real ones first.
    """
    figure, axes = _figure(len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        values: Mapping[str, np.ndarray] = panel["values"]
        parts = axis.violinplot(list(values.values()), showextrema=False, widths=0.8)
        for place, body in enumerate(parts["bodies"]):
            body.set(facecolor=_colour(place), alpha=0.35, edgecolor="none")
        for place, found in enumerate(values.values(), start=1):
            low, middle, high = np.percentile(found, (25, 50, 75))
            axis.plot([place, place], [low, high], color=_colour(place - 1), linewidth=3)
            axis.plot(place, middle, "o", color="white", markeredgecolor=INK, markersize=4)
        axis.set_xticks(range(1, len(values) + 1), list(values), fontsize=8)
        axis.set_ylabel(panel["unit"])
        axis.set_title(panel["name"], fontsize=9, loc="left")
    return _png(figure)


def pairs_of(panels: Sequence[Mapping[str, Any]]) -> bytes:
    """Synthetic against real figures of the same things with their intervals, a panel a figure.

    Args:
        panels: each with `name`, `unit`, `labels` (R,), `real` and `synthetic`, (R,) figures as of
            `Estimate.to_json`; the `named` largest of the real ones bear their label.
    """
    figure, axes = _figure(len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        x, y = (np.array([one["value"] for one in panel[w]]) for w in ("real", "synthetic"))
        reach = [
            np.abs([[one["low"], one["high"]] for one in panel[which]] - v[:, None]).T
            for which, v in (("real", x), ("synthetic", y))
        ]
        axis.errorbar(
            x, y, xerr=reach[0], yerr=reach[1], fmt="o", markersize=3.5, color=COLOURS[0],
            ecolor=REAL_COLOUR, elinewidth=0.5, alpha=0.8,
        )  # fmt: skip
        ends = (min(x.min(), y.min()), max(x.max(), y.max()))
        axis.plot(ends, ends, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        for place in np.argsort(-np.abs(x))[: panel["named"]]:
            axis.annotate(
                panel["labels"][place], (x[place], y[place]), fontsize=6.5, color=INK,
                xytext=(4, 3), textcoords="offset points",
            )  # fmt: skip
        axis.set_xlabel(f"people, {panel['unit']}")
        axis.set_ylabel(f"synthetic, {panel['unit']}")
        axis.set_title(panel["name"], fontsize=9, loc="left")
    return _png(figure)


def nearest(panels: Sequence[Mapping[str, Any]]) -> bytes:
    """Distances to the nearest training subject, of other people and of synthetic volumes.

    Args:
        panels: each with `name`, `real` (M,), `synthetic` (N,) and `threshold`.
    """
    figure, axes = _figure(len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        both = np.concatenate([panel["real"], panel["synthetic"]])
        edges = np.linspace(min(0.0, both.min()), both.max(), 36)
        for place, (name, key) in enumerate((("other people", "real"),
                                             ("synthetic", "synthetic"))):  # fmt: skip
            axis.hist(panel[key], edges, density=True, alpha=0.5, color=_colour(place), label=name)
        axis.axvline(panel["threshold"], color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axis.set_xlabel("relative distance to the nearest training subject")
        axis.set_yticks([])
        axis.set_title(panel["name"], fontsize=9, loc="left")
        axis.legend(frameon=False, fontsize=8)
    return _png(figure)


def by_band(bands: Sequence[Sequence[float]], panels: Sequence[Mapping[str, Any]]) -> bytes:
    """Figures by band of spatial frequency with their intervals, a panel a figure.

    Args:
        bands: (low, high), cycles a voxel.
        panels: each with `name`, `level`, where real people are, and `sets`, estimates as JSON by
            source, the real ones first.
    """
    figure, axes = _figure(len(panels))
    middles = np.mean(bands, axis=1)
    for axis, panel in zip(axes, panels, strict=True):
        axis.axhline(panel["level"], color=REAL_COLOUR, linewidth=1, linestyle=(0, (4, 3)))
        for place, (name, found) in enumerate(panel["sets"].items()):
            value, low, high = (
                np.array([one[key] for one in found], dtype=float)
                for key in ("value", "low", "high")
            )
            colour = _colour(place)
            axis.fill_between(middles, low, high, color=colour, alpha=0.2, linewidth=0)
            axis.plot(middles, value, "o-", color=colour, linewidth=1.2, markersize=3, label=name)
        axis.set_xlabel("cycles a voxel")
        axis.set_title(panel["name"], fontsize=9, loc="left")
        axis.legend(frameon=False, fontsize=8)
    return _png(figure)


def _colour(place: int) -> str:
    return REAL_COLOUR if place == 0 else COLOURS[(place - 1) % len(COLOURS)]


def _figure(panels: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * panels, 3.4), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(REAL_COLOUR)
        axis.tick_params(labelsize=8, color=REAL_COLOUR, labelcolor=INK)
        axis.xaxis.label.set_size(8)
        axis.yaxis.label.set_size(8)
    return figure, list(axes)


def _png(figure: Any) -> bytes:
    sink = io.BytesIO()
    figure.savefig(sink, dpi=DOTS_PER_INCH, metadata={"Software": None})
    return sink.getvalue()
