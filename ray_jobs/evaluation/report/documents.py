"""The report of an evaluation, and what of it is for everyone.

In --out: evaluation.json, report.md with its pictures, report.html, measured.parquet; in public/
the same report without a picture of any real person, as `brainpress publish` copies it. Of each
picture evaluation.json names, under `pictured`, the samples of the release that it shows: one that
is withdrawn later takes it along.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldm.covariates import CovariateSchema
from manifests.digests import sha256
from manifests.format.layout import MEASURED_KEY
from manifests.publish.evaluation import IMAGES_KEY, JSON_KEY, PUBLIC, images_file
from ray_jobs.evaluation.carried import (
    EvaluatedRelease,
    for_everyone,
    measured_file,
    seen,
)
from ray_jobs.evaluation.measuring.folds import Matched
from ray_jobs.evaluation.measuring.latent_space import Shown
from ray_jobs.evaluation.measuring.measured import Measured
from ray_jobs.evaluation.report.cautions import cautioned, meanings
from ray_jobs.evaluation.report.page import PAGE, Block, Picture, Table, to_html, to_markdown
from ray_jobs.evaluation.report.sections import (
    MOSAIC,
    headline_figures,
    headlines,
    mosaic,
    sections,
)
from ray_jobs.evaluation.sources import REAL, Source
from ray_jobs.evaluation.sweeps import Sweep
from ray_jobs.files import json_bytes, write_bytes


@dataclass(frozen=True)
class Report:
    """What was written, and what a terminal is told."""

    summary: str
    passed: bool


def write_report(
    out: Path,
    findings: dict[str, Any],
    measured: dict[str, Measured],
    sources: dict[str, Source],
    schema: CovariateSchema,
    sweeps: list[Sweep],
    release: EvaluatedRelease,
    matched: Matched | None,
    copies: Shown | None = None,
) -> Report:
    """Write the report; evaluation.json last, with the digests of what a release may carry."""
    findings = cautioned(findings)
    blocks = list(sections(findings, measured, sources, schema, sweeps, matched, copies))
    pictures = [block for block in blocks if isinstance(block, Picture)]
    findings = {
        **findings,
        "release": release.to_json(findings),
        "pictured": {picture.name: list(picture.shows) for picture in pictures},
    }
    carriable = [_without_real(block, sources) for block in blocks if not _names_people(block)]
    public = {
        **_files(carriable, page=PAGE),
        JSON_KEY: json_bytes(for_everyone(findings)),
    }
    carried = {
        MEASURED_KEY: measured_file(measured[release.label]),
        IMAGES_KEY: images_file(seen(measured[release.label], sources[release.label])),
    }
    carried |= {f"{PUBLIC}/{name}": data for name, data in public.items()}
    digests = {name: sha256(data) for name, data in sorted(carried.items())}
    (out / PUBLIC).mkdir(exist_ok=True)
    for name, data in {**_files(blocks), **carried}.items():
        write_bytes(out / name, data)
    write_bytes(out / JSON_KEY, json_bytes({**findings, "files": digests}))
    main = release.label
    stripped = ["whole heads: every figure is of the brain cut out of each"]
    lines = [
        *(stripped if findings.get("heads") else []),
        *(f"{name}: {text}" for name, text in headlines(findings, main)),
        *(f"note: {meaning}" for meaning in meanings(dict(headline_figures(findings, main)))),
        f"report: {out / 'report.html'}",
        f"  look  brainpress view {shlex.quote(str(out))}",
    ]
    return Report("\n".join(lines), bool(findings["privacy"][main]["passed"]))


def _files(blocks: list[Block], *, page: str | None = None) -> dict[str, bytes]:
    """A report's files, by name; `page` is the address of its release's page."""
    pictures = {block.name: block.png for block in blocks if isinstance(block, Picture)}
    return {
        **pictures,
        "report.md": to_markdown(blocks).encode(),
        "report.html": to_html(blocks, "Evaluation", page=page).encode(),
    }


def _names_people(block: Block) -> bool:
    return isinstance(block, Table) and block.names_people


def _without_real(block: Block, sources: dict[str, Source]) -> Block:
    """The block as everyone may see it: the cohort's images are not ours to publish."""
    if not isinstance(block, Picture) or block.name != MOSAIC:
        return block
    made = {label: source for label, source in sources.items() if label != REAL}
    return Picture(MOSAIC, mosaic(made), f"{', '.join(made)}.", block.shows)
