"""The README of a release."""

from __future__ import annotations

import re
import shlex
from typing import Any

from manifests.format.document import DEMONSTRATION, NO_TEMPLATE, ReleaseDocument
from manifests.format.layout import HUB_TABLE_KEY, MEASURED_KEY, MODALITY, weighted
from manifests.format.schema import Column
from manifests.format.segmentation.layout import LABELS_KEY, MAPS_PREFIX, REGIONS_KEY
from manifests.metadata.citation import cited
from manifests.metadata.hub import IMAGES, MOST_IN_A_FOLDER, front_matter
from manifests.metadata.quality import privacy_told, quality_section
from manifests.metadata.terms import license_conflict
from manifests.numbers import human_number
from manifests.text import markdown

# brainpress is on no package index.
INSTALL = "The commands come from a checkout of brainpress, with `pip install .` in it:"
HUB = (
    "Hugging Face's `datasets` (4.4 or newer, with `nibabel`) takes the folder too, or where it"
    " lies on the Hub: `datasets.load_dataset(FOLDER)`."
)
ON_THE_HUB = (
    f"The Hub takes {MOST_IN_A_FOLDER:,} files in a folder, fewer than there are subjects here:"
    " there it can lie as shards (`brainpress shards RELEASE`)."
)


def readme(
    document: ReleaseDocument,
    *,
    ok: int,
    failed: int,
    spread: str = "",
    withdrawn: int = 0,
    changed: str | None = None,
    part: bool = False,
    whole: int | None = None,
) -> str:
    """README.md of a release with so many samples: its data card, for who knows MRI and not us.

    `spread` tells how the covariates are spread, as Markdown; `changed` what has become of the
    release since it was published; `part` whether it is a downloaded part of one, `whole` how many
    samples that has.
    """
    samples = ok + failed + withdrawn if whole is None else whole
    model = document.model
    images = ", ".join(f"`sub-*/anat/*_{suffix}.nii.gz`" for suffix in document.suffixes)
    told = f"; `{MODALITY}` says of which contrast each is" if len(document.suffixes) > 1 else ""
    sections = [
        f"# {markdown(document.name)}",
        f"**{DEMONSTRATION}**" if document.demonstration else "",
        _closed(document),
        f"{ok:,} synthetic {weighted(document.suffixes)} brain images. Each is drawn from"
        f" a generative model. {privacy_told(document.evaluation, samples=samples)}",
        _version(document, changed),
        _checked(document),
        f"{failed:,} samples failed the quality check at every attempt and have no image."
        if failed
        else "",
        f"{withdrawn:,} samples were withdrawn and have no image any more: their rows of the"
        " manifest have the status `withdrawn`, and `error` says why."
        if withdrawn
        else "",
        "## What is here\n\n"
        f"- {images}: the images, a valid BIDS dataset{told}.\n"
        f"- `participants.tsv`: {_participants(document.columns)}.\n"
        "- `manifest.parquet`: the same and more, with the SHA-256 of every image.\n"
        f"- `{HUB_TABLE_KEY}`: the images with their covariates, for Hugging Face's `datasets`.\n"
        "- `croissant.json`: the manifest's columns for machine-learning tools.\n"
        "- `release.json`: how it was made."
        + (
            f"\n- `{MEASURED_KEY}`: what was measured on each image, by `index`."
            if document.evaluation
            else ""
        )
        + _label_maps(document),
        f"## Where the images lie\n\n{NO_TEMPLATE} Register them before an atlas is laid over them,"
        " or one is compared with another voxel by voxel."
        if document.space
        else "",
        "## What the columns mean\n\n" + _column_table(document.columns),
        f"## Covariate distributions\n\nOf the images that are here, as asked for:\n\n{spread}"
        if spread
        else "",
        f"## How it was made\n\nModel: {markdown(model['name'])}."
        f" {markdown(model.get('description') or '')}\n\n"
        f"Sampler: {markdown(document.sampler_text)}. Release seed: {document.seed}."
        f" Made with brainpress {markdown(document.software_version)}.\n\n"
        "The same model, sampler and seed give the same samples again.",
        f"## What the model was trained on\n\n{_training(document)}",
        quality_section(document.evaluation, samples=ok + failed + withdrawn, images=ok, part=part)
        if document.evaluation
        else "",
        f"## Known limits\n\n{_limits(document)}",
        "## How to use a part of it\n\n"
        f"{INSTALL}\n\n"
        f'    brainpress query RELEASE --where "{_example(document.columns)}"\n'
        '    brainpress query RELEASE "SELECT count(*) FROM manifest"\n'
        "    brainpress download RELEASE FOLDER --limit 10\n"
        "    brainpress verify FOLDER\n\n"
        f"RELEASE is the folder or address where this file lies{_address(document)}."
        + (f" {HUB}" if ok else "")
        + (f" {ON_THE_HUB}" if ok > MOST_IN_A_FOLDER else ""),
        f"## How to cite\n\n{markdown(cited(document))} `CITATION.cff` has it for programs.",
        f"## Licence\n\n{markdown(document.license)}."
        f" {markdown(model.get('attribution') or '')}".rstrip(),
        _despite(document),
    ]
    head = front_matter(document, images=ok, files=[HUB_TABLE_KEY, IMAGES])
    return head + "\n\n".join(section for section in sections if section) + "\n"


def _label_maps(document: ReleaseDocument) -> str:
    """The lines about the label maps, where it has some."""
    told = document.segmentation
    if told is None:
        return ""
    return (
        f"\n- `{MAPS_PREFIX}*/anat/*_dseg.nii.gz`: {markdown(told.told)}, on the images' own grid;"
        f" `{LABELS_KEY}` says what the numbers mean. They are under {markdown(told.license)}."
        f" {markdown(told.attribution)}".rstrip()
        + f"\n- `{REGIONS_KEY}`: the volumes of these regions in mm3, by `index`."
    )


def _closed(document: ReleaseDocument) -> str:
    """That it is public no more, and why."""
    if document.published is None or document.published.closed is None:
        return ""
    return f"**{markdown(document.published.closed.told)}**"


def _despite(document: ReleaseDocument) -> str:
    """That the model's licence does not allow this one, where somebody said that it may be."""
    why = license_conflict(document.license, document.model) if document.published else None
    return f"**It is under {markdown(document.license)} though {markdown(why)}.**" if why else ""


def _address(document: ReleaseDocument) -> str:
    """Where it was published, as a command takes it."""
    words = document.published.address if document.published else None
    return f"; it was published as {markdown(shlex.join(words))}" if words else ""


def _checked(document: ReleaseDocument) -> str:
    """How the images were checked, where that is less than the model asks for."""
    how = document.fields.get("quality")
    if how == "loose":
        return "**The images were checked by bounds three times as wide as the model's own.**"
    if how == "off":
        return "**The images were not checked**, but for being finite and not empty."
    return ""


def _version(document: ReleaseDocument, changed: str | None) -> str:
    """Which version this is, and where earlier ones are."""
    if document.published is None:
        return ""
    if changed:
        return f"Not a published version: it has {changed}. `CHANGES` tells of those."
    last, *earlier = document.published.versions
    told = f"Version {last.version} of {last.date}; `CHANGES` says what is new."
    if earlier:
        told += (
            " Earlier versions are at hand too:"
            f" `brainpress info RELEASE --release-version {earlier[0].version}`, and likewise"
            " `query` and `download`."
        )
    return told


def _training(document: ReleaseDocument) -> str:
    """From the model's card, which may be anybody's."""
    training = document.model.get("training")
    training = training if isinstance(training, dict) else {}
    cohort = training.get("cohort")
    cohort = cohort if isinstance(cohort, dict) else {}
    told = []
    if name := cohort.get("dataset") or cohort.get("name"):
        told.append(f"Cohort: {markdown(name)}.")
    if isinstance(subjects := training.get("subjects"), int):
        held_out = training.get("held_out")
        rest = f", {held_out:,} held out" if isinstance(held_out, int) else ""
        told.append(f"{subjects:,} subjects{rest}.")
    if attribution := cohort.get("attribution"):
        told.append(f"{markdown(attribution)}.")
    told += _promise(document.model.get("privacy"))
    return " ".join(told) or "The model's card does not tell; see the description above."


def _promise(privacy: Any) -> list[str]:
    """What people were promised who were trained on privately."""
    if not isinstance(privacy, dict):
        return []
    numbers = [privacy.get(name) for name in ("epsilon", "delta", "people")]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        return []
    epsilon, delta, people = numbers
    return [
        f"Its U-Net was trained on {people:,g} people with differential privacy, epsilon "
        f"{epsilon:g} at delta {delta:.2g} a person (DP-SGD, Abadi et al. 2016); the model's card "
        "says on what the promise rests."
    ]


def _limits(document: ReleaseDocument) -> str:
    """What a reader must know before using the images."""
    lines = [
        "- The images are synthetic: they show what the model has learnt, with its faults and with"
        " the selection of its training data.",
    ]
    if document.evaluation is None:
        lines.append(
            "- How like real images they are, and how private, is not measured in this release."
        )
    if document.columns:
        lines += [
            "- `participants.tsv` has what was asked of the model; what an image shows may differ.",
            "- Where `extrapolated` is true, a value, or what the model is told in its place, lies"
            " outside the range of the training data.",
        ]
    if limits := document.model.get("limits"):
        lines.append(f"- {markdown(limits)}")
    return "\n".join(lines)


def _participants(columns: tuple[Column, ...]) -> str:
    """What participants.tsv holds."""
    if not columns:
        return "the key of each image"
    return "what each image was asked to show, see `participants.json`"


def _column_table(columns: tuple[Column, ...]) -> str:
    if not columns:
        return (
            "The model is unconditional: no image was asked to show a certain age, sex or volume,"
            " and there are no columns for them. The others are described in the manifest itself."
        )
    lines = ["| column | meaning | unit | range |", "|---|---|---|---|"]
    for column in columns:
        span = ", ".join(map(markdown, column.levels))
        if column.minimum is not None and column.maximum is not None:
            span = f"{human_number(column.minimum)} to {human_number(column.maximum)} in training"
        told = " | ".join(map(markdown, (column.description, column.unit)))
        lines.append(f"| {column.name} | {told} | {span} |")
    return "\n".join(lines)


def _example(columns: tuple[Column, ...]) -> str:
    """A `--where` that works with these columns."""
    parts = []
    for column in columns:
        if column.kind == "categorical":
            level = column.levels[0]
            if re.fullmatch(r"[\w .+-]+", level):  # it stands in a shell's quotes
                parts.append(f"{column.name} = '{level}'")
        elif column.minimum is not None and column.maximum is not None:
            parts.append(f"{column.name} > {(column.minimum + column.maximum) / 2:.4g}")
    return " and ".join(parts[:2]) or "index < 10"
