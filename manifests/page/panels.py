"""The panels of a page that show how its columns are spread, and filter by them."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from manifests.numbers import human_number
from manifests.page.columns import PageColumn
from manifests.page.figures import Bins, group_column, histogram
from manifests.text import one_line

NAMES = {"extrapolated": {"false": "inside the range", "true": "extrapolated"}}
SEXES = {"F": "female", "M": "male"}
TOLD = {
    "extrapolated": "whether a covariate, or what the model is told in its place, lies outside "
    "the range that the model was trained on",
    "status": "ok; failed, where no draw passed the quality check; or withdrawn after release",
}


def panels_html(columns: Sequence[PageColumn], bins: Mapping[str, Bins]) -> str:
    """A panel for each column but those that are drawn in another's.

    What was measured and never asked for stands behind a button: it is much, and seldom wanted.
    """
    groups = group_column(columns)
    partners = {column.shows: column for column in columns if column.shows}
    shown: list[str] = []
    more: list[str] = []
    for column in columns:
        if column.name in bins and column.shows is None:
            figure = histogram(column, bins[column.name], groups, partners.get(column.name))
            panel = _numbers_panel(column, bins[column.name], figure)
            (more if column.role == "measured" else shown).append(panel)
        elif len(column.levels) > (0 if column.role == "asked" else 1):
            shown.append(_levels_panel(column, groups))
    rest = ""
    if more:
        rest = (
            f'\n<details class="more"><summary>{len(more)} more, measured on the images</summary>\n'
            f'<div class="panels">\n{chr(10).join(more)}\n</div></details>'
        )
    return f'<div class="panels">\n{chr(10).join(shown)}\n</div>{rest}'


def legend_html(columns: Sequence[PageColumn]) -> str:
    """Which colour is which group, what the line is, and what is pale."""
    groups = group_column(columns)
    told = []
    for place, level in enumerate(groups.levels if groups is not None else ()):
        told.append(
            f'<span class="key part{place}">{_text(level_name(groups.name, level))}</span>'
            if groups is not None
            else ""
        )
    if any(column.shows for column in columns):
        told.append('<span class="key line">measured on the image</span>')
    told.append('<span class="key all">left out by the filter</span>')
    return " ".join(told)


def level_name(column: str, level: str) -> str:
    """A level as people read it: F (female)."""
    if column == "sex" and level in SEXES:
        return f"{level} ({SEXES[level]})"
    return NAMES.get(column, {}).get(level, level)


def _numbers_panel(column: PageColumn, bins: Bins, figure: str) -> str:
    label, unit = _text(column.label), _text(column.shown_unit)
    low, high = (f"{end:.12g}" for end in (bins.low, bins.high))
    least, most = (f"{end / column.per:.12g}" for end in (bins.low, bins.high))
    ends = f'min="{low}" max="{high}" step="{bins.step / 10:.12g}"'
    shown = f' <span class="unit">{unit}</span>' if unit else ""
    of = f", {unit}" if unit else ""
    return f"""\
<fieldset class="panel" data-column="{_text(column.name)}" data-per="{column.per:g}" disabled>
<legend>{label}{shown}</legend>
<p class="meaning">{_meaning(column)}{_trained(column)}</p>
<div class="figure">{figure}
<div class="thumbs">
<input type="range" class="low" {ends} value="{low}" aria-label="{label}, least">
<input type="range" class="high" {ends} value="{high}" aria-label="{label}, greatest">
</div></div>
<div class="ends">
<label>from <input type="number" class="low" step="any" placeholder="{least}"
 aria-label="{label}, from{of}"></label>
<label>to <input type="number" class="high" step="any" placeholder="{most}"
 aria-label="{label}, to{of}"></label>
</div>
</fieldset>"""


def _levels_panel(column: PageColumn, groups: PageColumn | None) -> str:
    counts = [int((column.values == place).sum()) for place in range(len(column.levels))]
    most = max([1, *counts])
    items = []
    for place, (level, count) in enumerate(zip(column.levels, counts, strict=True)):
        colour = f"part{place}" if column is groups else "plain" if groups else "part0"
        width = f"{count / most * 100:.1f}"
        items.append(
            f'<label class="level"><input type="checkbox" value="{place}"><span class="name">'
            f'{_text(level_name(column.name, level))}</span><svg class="bar" viewBox="0 0 100 10"'
            f' preserveAspectRatio="none" data-top="{most}" aria-hidden="true" focusable="false">'
            f'<rect class="all" width="{width}" height="10"/>'
            f'<rect class="part {colour}" width="{width}" height="10"/></svg>'
            f'<span class="count">{count:,}</span></label>'
        )
    return f"""\
<fieldset class="panel" data-column="{_text(column.name)}" disabled>
<legend>{_text(column.label)}</legend>
<p class="meaning">{_meaning(column)}</p>
<div class="levels">{"".join(items)}</div>
</fieldset>"""


def _meaning(column: PageColumn) -> str:
    text = _text(TOLD.get(column.name, column.description))
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _trained(column: PageColumn) -> str:
    if not column.trained:
        return ""
    low, high = (human_number(float(f"{end / column.per:.4g}")) for end in column.trained)
    return f" Trained on {low} to {high}."


def _text(text: object) -> str:
    return html.escape(one_line(text))
