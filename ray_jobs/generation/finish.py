"""The end of a run: what the release says of itself, its pictures, and where everything is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from ldm.covariates import Covariate, CovariateSchema
from ldm.models.description import ONE_PASS, ModelDescription
from ldm.volumes.grid import MNI
from ldm.volumes.nifti import from_bytes
from ldm.volumes.previews import mosaic, sweep
from manifests.changes.changing import Changing
from manifests.errors import ReleaseError, StorageError
from manifests.format.document import ReleaseDocument
from manifests.format.layout import MODALITY, SAMPLES_KEY, part_key, weighted
from manifests.format.parquet import table_from_bytes
from manifests.format.release_json import read_release
from manifests.format.schema import OK
from manifests.ledger import ShardPlan
from manifests.ledger.finalise import close, finalise
from manifests.numbers import human_seconds
from manifests.storage.base import Store
from manifests.terminal import told_end
from ray_jobs.errors import JobError
from ray_jobs.generation.plan import calibration_in
from ray_jobs.generation.start import Request, Work
from ray_jobs.generation.words import GO_ON, say
from ray_jobs.generation.worker.rejected import PREVIEW_KEY
from ray_jobs.generation.worker.rows import QUALITY_COLUMNS, covariate_columns

COMPLETE, INCOMPLETE = 0, 1
PICTURED = 16
SWEPT = 8


def nothing_left(request: Request, work: Work) -> int:
    """Every shard is done; close the release if the run that did them could not."""
    try:
        release = read_release(request.store)
        complete = release["counts"]["samples"] >= work.shards.n
    except ReleaseError:
        complete = False
    if not complete:
        return finish(request, work, made=0, seconds=0)
    counts = release["counts"]
    made = f"nothing left to do: {request.store.uri} is complete with {counts['samples']} samples"
    print(_told(request, made, pictures=False))
    return told_failures(counts["failed"], counts["samples"], request.store.uri)


def finish(
    request: Request, work: Work, *, made: int, seconds: float, under: Changing | None = None
) -> int:
    """Close the release and say where everything is.

    Args:
        under: the right to change it, where this process has it already.
    """
    options = request.options
    store = request.store.patient(options.storage_patience)
    document = release_document(
        request.description,
        name=options.name,
        license=options.license,
        authors=options.authors,
        fingerprint=work.fingerprint,
        fields=work.fields,
    )
    try:
        pictures = previews(store, work.shards, request.description.schema)
        for left in store.list(PREVIEW_KEY):  # by a try that ended with its first shard
            store.delete(left.key)
        if under is None:
            counts = finalise(store, work.shards, document, extra=pictures)["counts"]
        else:
            counts = close(under, work.shards, document, extra=pictures)["counts"]
    except StorageError as error:
        raise JobError(
            f"{error} (all {work.shards.n} volumes are done, the release's manifest and metadata "
            f"are missing; when that is mended, {GO_ON})",
            exit_code=INCOMPLETE,
        ) from error
    took = f", {made} of them made now in {human_seconds(seconds)}" if made else ""
    lost = f", {counts['failed']} of them without an image" if counts["failed"] else ""
    print(_told(request, f"{counts['samples']} samples{took}{lost}: {store.uri}", bool(pictures)))
    return told_failures(counts["failed"], counts["samples"], store.uri)


def _told(request: Request, made: str, pictures: bool) -> str:
    """What was made, where to look at it, and what can be done with it."""
    options, uri = request.options, request.store.uri
    place = [options.out]
    if options.endpoint_url:
        place += ["--endpoint-url", options.endpoint_url]
    words = shlex.join(place)
    where = example_query(request.description.schema)
    told = {"pictures": f"{uri}/{SAMPLES_KEY}"} if pictures else {}
    told |= {
        "manifest": f"{uri}/manifest.parquet",
        "look": f"brainpress view {words}",
        "query it": f'brainpress query {words} --where "{where}"',
    }
    return told_end(made, told, ("publish", *place))


def told_failures(failed: int, samples: int, uri: str) -> int:
    """The exit code, and the line that explains it where samples failed for good."""
    if not failed:
        return COMPLETE
    say(
        f"brainpress generate: {failed} of {samples} samples failed the quality check at every "
        f"attempt (--redraw draws them on); see them with: brainpress query {shlex.quote(uri)} "
        "--where \"status = 'failed'\" --columns index,error"
    )
    return INCOMPLETE


def release_document(
    description: ModelDescription,
    *,
    name: str | None,
    license: str | None,
    authors: Sequence[str],
    fingerprint: str,
    fields: Mapping[str, Any],
) -> ReleaseDocument:
    """What the release says of itself: from the model's card and the plan's fields.

    Args:
        description: the model.
        name, license, authors: as the user wants them; else from the model's card.
        fingerprint, fields: the plan's.
    """
    card = description.card
    given = {"name": name, "license": license, "authors": authors}
    fixed = fields.get("fixed", {}).get(MODALITY) if len(description.suffixes) > 1 else None
    shown = description.suffixes if fixed is None else (fixed,)
    return ReleaseDocument(
        name=name or f"Synthetic {weighted(shown)} brain MRI ({description.name})",
        suffixes=description.suffixes,
        model={**card, "name": description.name},
        sampler=_sampler(fields),
        seed=int(fields["seed"]),
        fingerprint=fingerprint,
        fields=fields,
        columns=covariate_columns(
            description.schema, calibration_in(fields, description.calibration)
        ),
        quality=QUALITY_COLUMNS,
        license=license or card.get("release_license") or card.get("license") or "not stated",
        authors=tuple(authors) or ReleaseDocument.authors,
        chosen=tuple(sorted(field for field, value in given.items() if value)),
        software_version=software_version(),
        space=None if description.grid.space == MNI else description.grid.space,
    )


def previews(store: Store, plan: ShardPlan, schema: CovariateSchema) -> dict[str, bytes]:
    """Pictures of the first samples, by key: all of them, and some in order of a covariate.

    A function of the release's first samples alone, so that a release that grew and one made at
    once have the same.
    """
    rows = first_rows(store, plan, PICTURED)
    if not rows:
        return {}
    volumes = [read_volume(store, row["path"]) for row in rows]
    titles = [_title(row, schema) for row in rows]
    pictures = {SAMPLES_KEY: mosaic(volumes, titles)}
    along = _swept_covariate(schema)
    values = [] if along is None else [row[along.name] for row in rows]
    if along is not None and len(set(values)) > 1:
        order = np.argsort(values, kind="stable")
        chosen = order[np.linspace(0, len(order) - 1, min(SWEPT, len(order))).round().astype(int)]
        pictures[f"previews/by_{along.name}.png"] = sweep(
            [volumes[i] for i in chosen],
            [_value(along, values[i]) for i in chosen],
            title=f"{along.name.replace('_', ' ')}, as asked",
        )
    return pictures


def first_rows(store: Store, plan: ShardPlan, count: int) -> list[dict[str, Any]]:
    """The rows of the first `count` samples that did not fail."""
    rows: list[dict[str, Any]] = []
    for shard in range(plan.count):
        key = part_key(shard)
        table = table_from_bytes(store.get(key), key)
        rows += [r for r in table.to_pylist() if r["status"] == OK and r["index"] < plan.n]
        if len(rows) >= count:
            break
    return rows[:count]


def read_volume(store: Store, key: str) -> np.ndarray:
    """A stored image as (X, Y, Z) float32 in [0, 1]."""
    return np.asarray(from_bytes(store.get(key)).dataobj, dtype=np.float32)


def example_query(schema: CovariateSchema) -> str:
    """A filter that some samples of a release will pass: above the middle of a covariate."""
    continuous = [c for c in schema.covariates if c.is_continuous]
    if not len(schema):
        return "index < 10"
    if not continuous:
        first = schema.covariates[0]
        return f"{first.name} = '{first.levels[0]}'"
    chosen = next((c for c in continuous if c.name == "age"), continuous[0])
    return f"{chosen.name} > {float(f'{(chosen.minimum + chosen.maximum) / 2:.2g}'):g}"


def software_version() -> str:
    """The version of brainpress, or that it runs from a checkout."""
    try:
        return version("brainpress")
    except PackageNotFoundError:
        return "not installed"


def _sampler(fields: Mapping[str, Any]) -> dict[str, Any]:
    """How volumes were drawn, for release.json and the README."""
    if fields["sampler"] == ONE_PASS:
        return {"name": "one pass of the generator"}
    told = ("steps", "eta", "guidance")
    return {"name": fields["sampler"], **{name: fields[name] for name in told if name in fields}}


def _swept_covariate(schema: CovariateSchema) -> Covariate | None:
    continuous = [c for c in schema.covariates if c.is_continuous]
    ventricles = [c for c in continuous if "ventric" in c.name]
    return next(iter(ventricles or continuous), None)


def _title(row: Mapping[str, Any], schema: CovariateSchema) -> str:
    asked = [_value(c, row[c.name]) for c in schema.covariates]
    return "  ".join([f"{row['index']:06d}", *asked])


def _value(covariate: Covariate, value: float | str) -> str:
    """A covariate for a caption: `62 y`, `31 mL`, `F`."""
    if isinstance(value, str):
        return value
    if covariate.unit == "mm3":
        return f"{value / 1000:.0f} mL"
    unit = {"year": "y", "a": "y"}.get(covariate.unit, covariate.unit)
    return f"{value:.3g} {unit}".strip()
