"""What the data card tells of a release's evaluation."""

from __future__ import annotations

from manifests.format.evaluation import FAILED, INCONCLUSIVE, PASSED, REPORT_KEY, Evaluation
from manifests.format.layout import MEASURED_KEY
from manifests.text import markdown

_FOUND = {
    PASSED: "found nothing",
    FAILED: "of this release **FAILED**",
    INCONCLUSIVE: "of this release was **inconclusive**",
}


def privacy_told(evaluation: Evaluation | None, *, samples: int, one: bool = False) -> str:
    """Whether the images show anybody, in one sentence: only an audit of them all may say no.

    Args:
        samples: of the whole release as it is now.
        one: whether there is one image.
    """
    if evaluation is None:
        return "Whether any shows a person whom the model was trained on was not audited."
    if evaluation.verdict == INCONCLUSIVE:
        return (
            "The privacy audit was inconclusive: whether any shows a person whom the model was"
            " trained on is not known."
        )
    if not evaluation.passed:
        return "The privacy audit FAILED: some may show a person whom the model was trained on."
    measured, audited = evaluation.measured, evaluation.samples
    if samples > audited or measured < evaluation.images:
        return (
            f"The privacy audit passed {measured:,} of them; whether any of the others shows a"
            " person whom the model was trained on was not audited."
        )
    return (
        f"{'It shows no' if one else 'None shows a'} person, by the privacy audit of these images."
    )


def quality_section(evaluation: Evaluation, *, samples: int, images: int, part: bool) -> str:
    """What the data card tells of it, as Markdown.

    Args:
        samples, images: of the release as it is now.
        part: whether this is a downloaded part of the release that was evaluated.
    """
    one = evaluation
    held = (
        f"{one.measured:,} of its {one.images:,} images"
        if one.measured < one.images
        else (f"its {one.images:,} images")
    )
    lines = [
        "The release that this is a part of was evaluated" if part else "It was evaluated",
        f" when it had {one.samples:,} samples: {held}, against {one.reference:,} real people.",
    ]
    if one.measured + one.refused < one.images:
        lines.append(" The others are neither measured nor audited.")
    if one.refused:
        lines.append(
            f" {one.refused:,} image{'' if one.refused == 1 else 's'} could not be measured."
        )
    if not part and samples > one.samples:
        lines.append(
            f" **It has grown since: of the {samples - one.samples:,} samples that came later"
            " nothing is measured, and the audit did not see them.**"
        )
    elif not part and (gone := one.images - images) > 0:
        lines.append(f" {gone:,} of the images {'was' if gone == 1 else 'were'} withdrawn since.")
    rows = ["| figure | value (95 % interval) | n |", "|---|---|---|"]
    rows += [f"| {markdown(f.name)} | {markdown(f.told)} | {f.n:,} |" for f in one.figures]
    where = f"[{REPORT_KEY}]({REPORT_KEY})" if not part else f"`{REPORT_KEY}` of that release"
    blocks = [
        "## Quality and privacy\n\n" + "".join(lines),
        "\n".join(rows) if one.figures else "",
        f"The privacy audit {_FOUND[one.verdict]}. Its rule: {markdown(one.rule)}",
        "**It was published in spite of that:**\n\n"
        + "\n".join(f"- {markdown(reason)}" for reason in one.reasons)
        if one.reasons
        else "Passing it is no proof of privacy: the report tells what it could have found.",
        f"The report: {where}. `{MEASURED_KEY}` has what was measured on each image, by `index`.",
    ]
    return "\n\n".join(block for block in blocks if block)
