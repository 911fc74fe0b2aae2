"""The model card: what a model says of itself to people, as Markdown."""

from __future__ import annotations

import json
from typing import Any

from ldm.covariates import CovariateSchema
from ldm.models.description import LATENT_DIFFUSION, ModelDescription
from ldm.untrusted import markdown

# The entry of a card that holds what was promised to the people who were trained on.
PRIVACY = "privacy"


def without_privacy(card: dict[str, Any], verb: str) -> dict[str, Any]:
    """A card that promises nothing any more, for `verb` takes more from people than the promise
    covers; it says so in the description."""
    if PRIVACY not in card:
        return card
    kept = {name: value for name, value in card.items() if name != PRIVACY}
    lost = f"Not differentially private: {verb} took more from people than was promised."
    return {**kept, "description": f"{card.get('description', '')} {lost}".strip()}


def render_card(description: ModelDescription) -> str:
    """The model card (README.md of the folder), Markdown."""
    card = description.card
    lines = [f"# {markdown(card.get('name', description.name))}", ""]
    lines += [markdown(card.get("description", "")), ""]
    if card.get("demo"):
        lines += ["**A demonstration**: not for research conclusions.", ""]
    side = " x ".join(map(str, description.grid.shape))
    drawn = description.kind == LATENT_DIFFUSION
    lines += [
        f"- Volumes: {side} voxels, {description.grid.spacing:g} mm, {description.grid.space_text}",
        *([f"- Sampled with {description.sampling.text}, unless told otherwise"] if drawn else []),
        f"- Licence: {markdown(card.get('license', 'not stated'))}",
        f"- Attribution: {markdown(card.get('attribution', 'none'))}",
        "",
        "## Covariates",
        "",
        *_covariate_table(description.schema),
        *_calibration(description),
    ]
    lines += _privacy(card.get(PRIVACY))
    lines += _tries(card.get("tries"))
    lines += ["", "## How it was trained", "", "```json"]
    lines += [json.dumps(card.get("training", {}), indent=1), "```", ""]
    return "\n".join(lines)


def _calibration(description: ModelDescription) -> list[str]:
    """A table of what the network is told; nothing where that is what is asked."""
    planes, names = description.calibration.planes, description.schema.inputs
    if not planes:
        return []
    lines = [
        "",
        "Calibrated: what the network is told, of what is asked, all scaled to 0..1:",
        "",
        f"| told | {' | '.join(map(markdown, names))} | constant |",
        f"|---|{'---|' * len(names)}---|",
    ]
    for name, plane in planes.items():
        weights = " | ".join(f"{plane.weights.get(of, 0):.3g}" for of in names)
        lines.append(f"| {name} | {weights} | {plane.constant:.3g} |")
    return lines


def _privacy(promise: Any) -> list[str]:
    """What people were promised; nothing where nothing was."""
    if not isinstance(promise, dict):
        return []
    told = {
        name: markdown(f"{value:.4g}" if isinstance(value, float) else value)
        for name, value in promise.items()
    }
    public = promise.get("public")
    name = markdown(public.get("name", "") if isinstance(public, dict) else "")
    return [
        "",
        "## Differential privacy",
        "",
        f"Epsilon {told.get('epsilon')} at delta {told.get('delta')}, for one person more or less "
        f"among {told.get('people')}: DP-SGD (Abadi et al. 2016), {told.get('steps')} steps, each "
        f"person in a step with probability {told.get('sampling_rate')}, noise of "
        f"{told.get('noise_multiplier')} times what a person adds at most, weights tuned: "
        f"{told.get('tuned')}; reckoned by {told.get('accountant')}. All else of this model is "
        f"that of {name}, and the promise holds for those whom that one never saw.",
    ]


def _tries(tries: Any) -> list[str]:
    """A table of them; nothing of what is none."""
    told = [one for one in tries if isinstance(one, dict)] if isinstance(tries, list) else []
    if not told:
        return []
    rows = [[markdown(one.get(name, "")) for name in ("tried", "found")] for one in told]
    head = ["", "## What was tried", "", "| tried | found |", "|---|---|"]
    return [*head, *(f"| {tried} | {found} |" for tried, found in rows)]


def _covariate_table(schema: CovariateSchema) -> list[str]:
    if not len(schema):
        return ["None: the model is unconditional."]
    lines = ["| name | unit | range or levels | meaning |", "|---|---|---|---|"]
    for c in schema.covariates:
        levels = ", ".join(map(markdown, c.levels))
        extent = f"{c.minimum:g} to {c.maximum:g}" if c.is_continuous else levels
        lines.append(f"| {c.name} | {markdown(c.unit)} | {extent} | {markdown(c.description)} |")
    return lines
