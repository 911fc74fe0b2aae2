"""Give a trained tool its card: what it is, what it was trained on, how good it is.

    python -m tests.benchmarks.tool_cards --tool RUN/tool --accuracy figures.json --out FOLDER

figures.json is what `python -m tests.benchmarks.segmenter --json` wrote, or
`python -m tests.benchmarks.regions --json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ldm.errors import LdmError
from ldm.measuring.tool_folder import CARD, PEOPLE, REGIONS, SEGMENTER, read, write
from ldm.untrusted import markdown

_ABOUT = {
    SEGMENTER: (
        "Segmenter",
        "Lateral ventricles, grey matter, white matter, brain stem and cerebrospinal fluid on a "
        "brain-only T1w image, at 2 mm. Not a medical device.",
        "The reference is not drawn by hand: real subjects' label maps are DLMUSE's, a network "
        "trained on multi-atlas labels, resampled to 2 mm. Virtual subjects' are true, but their "
        "fluid is drawn wider. The unseen subjects gave no weight, but were looked at: five "
        "of them while it trained, when its last layers were added, and all of them "
        "when it was decided to train it longer. So its accuracy may be told a little too high.",
    ),
    PEOPLE: (
        "Age and sex",
        "Age in years and sex, told from the segmenter's output: ridge and logistic regression. "
        "A measure for synthetic volumes, not a statement about a person.",
        "Few subjects of one site: the intervals are wide, and ages are drawn towards the middle "
        "(the slope is below 1).",
    ),
    REGIONS: (
        "Regions",
        "58 regions of the brain, left and right, on a brain-only T1w image, at 2 mm: cortex and "
        "white matter of the lobes, deep grey matter, ventricles, cerebellum, brain stem. It "
        "divides what the segmenter has told apart. Not a medical device.",
        "The reference is not drawn by hand: the label maps are DLMUSE's, a network trained on "
        "multi-atlas labels, resampled to 2 mm. The unseen subjects gave no weight, but eight of "
        "them were looked at while it trained.",
    ),
}
_FIELDS = ("value", "low", "high", "n")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.tool_cards",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tool", type=Path, required=True)
    parser.add_argument("--accuracy", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    try:
        kind = str(json.loads((args.tool / "model.json").read_text())["kind"])
        document, files = read(args.tool, kind)
        told = json.loads(args.accuracy.read_text())
        wanted = {name: rows for name, rows in told.items() if _belongs(name, kind)}
        for name in ("format", "version", "files"):
            document.pop(name)
        document["accuracy"] = wanted
        write(args.out, document, {**files, CARD: render(document, wanted).encode()})
    except (OSError, ValueError, KeyError) as error:
        print(f"cards: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except LdmError as error:
        print(f"cards: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{args.out}: {kind} with its card")
    return 0


def render(document: dict[str, Any], accuracy: dict[str, Any]) -> str:
    """The card, Markdown."""
    title, about, caution = _ABOUT[document["kind"]]
    card = document["card"]
    split = card["split"]
    lines = [f"# {title}", "", about, "", caution, ""]
    lines += [
        f"- Trained on: {markdown(card.get('dataset', 'not stated'))}",
        f"- Licence of the weights: {markdown(card.get('license', 'not stated'))}",
        f"- Attribution: {markdown(card.get('attribution', 'none'))}",
        f"- Never looked at in training: the subjects for which `{split['function']}` with a share "
        f"of {split['unseen_share']} is true, those that `prepare --validation` holds out at a "
        "smaller share among them",
        "",
        "## Accuracy on subjects it never saw",
        "",
        "95 % intervals over subjects.",
    ]
    for name, rows in accuracy.items():
        lines += ["", f"### {name}", "", *_table(rows)]
    lines += ["", "## How it was trained", "", "```json"]
    told = {**card["training"], **{k: document[k] for k in _TOLD if k in document}}
    return "\n".join([*lines, json.dumps(told, indent=1), "```", ""])


_TOLD = ("groups", "penalty", "cross_validation")


def _belongs(name: str, kind: str) -> bool:
    return name.startswith("people") == (kind == PEOPLE)


def _table(rows: dict[str, Any]) -> list[str]:
    if not rows:
        return []
    first = next(iter(rows.values()))
    if not isinstance(first, dict):
        return [f"- {name}: {value}" for name, value in rows.items()]
    if set(first) == set(_FIELDS):
        return ["| | | n |", "|---|---|---|"] + [
            f"| {name} | {_told(figure)} | {figure['n']} |" for name, figure in rows.items()
        ]
    columns = list(first)
    count = next(figure["n"] for figure in first.values())
    lines = [f"n = {count}", "", f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name, figures in rows.items():
        cells = [_told(figures[column]) if column in figures else "" for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _told(figure: dict[str, float | None]) -> str:
    if figure["value"] is None or figure["low"] is None:
        return "undefined"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


if __name__ == "__main__":
    raise SystemExit(main())
