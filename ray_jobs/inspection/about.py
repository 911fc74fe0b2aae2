"""What `info` tells of a model, a prepared cohort, latents, a training run and a report."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ldm.covariates import Covariate, CovariateSchema
from manifests.format.evaluation import Evaluation
from manifests.numbers import counted, human_bytes, human_number
from manifests.storage.base import Store
from manifests.terminal import facts, table, told_end
from manifests.text import one_line
from ray_jobs.ending import AUTOENCODER, DIFFUSION, LATENTS, command, printing
from ray_jobs.errors import JobError
from ray_jobs.inspection.kinds import COHORT_MARK, JSON_KEY, LATENTS_MARK, Kind, document
from ray_jobs.inspection.run import looks_table, read_run, told_status

if TYPE_CHECKING:
    from ldm.models.description import ModelDescription

Next = Sequence[str]


def about(kind: Kind, place: str, store: Store) -> tuple[str, dict[str, Any]]:
    """The text for people, and the same as a JSON object.

    Raises:
        JobError, ReleaseError, LdmError: begun and not finished, or damaged.
    """
    return _TOLD[kind](place, store)


def _model(place: str, store: Store) -> tuple[str, dict[str, Any]]:
    from ldm.loading import describe

    described = describe(place)
    lines = facts(
        {
            "model": described.name + (", a demonstration" if described.card.get("demo") else ""),
            "at": place,
            "what": str(described.card.get("description") or ""),
            "trained on": _trained_on(described),
            "draws": f"{', '.join(described.suffixes)}, {_grid(described.grid.to_json())}",
            "kind": described.kind,
            "sampling": described.sampling.text if described.denoiser else "one pass",
            "weights": human_bytes(sum(one["bytes"] for one in described.files.values())),
            "licence": str(described.card.get("license") or ""),
            "attribution": str(described.card.get("attribution") or ""),
            "fingerprint": described.fingerprint,
        }
    )
    end = told_end("", {"look": command("view", place)}, printing(place))
    return "\n".join([*lines, "", _ranges(described.schema), end]), described.to_json()


def _trained_on(described: ModelDescription) -> str:
    training = described.card.get("training") or {}
    if "subjects" not in training:
        return ""
    cohort = training.get("cohort") or {}
    of = cohort.get("dataset") or cohort.get("name") or cohort.get("kind") or "a cohort"
    text = f"{counted(int(training['subjects']), 'subject')} of {of}"
    if held := int(training.get("held_out") or 0):
        text += (
            f"; {held} more were held out, and the covariates of releases are drawn as those of "
            f"all {int(training['subjects']) + held} are spread"
        )
    return text


def _cohort(place: str, store: Store) -> tuple[str, dict[str, Any]]:
    mark = _finished(store, COHORT_MARK, "prepare")
    schema = CovariateSchema.from_json(mark)
    unusable = mark.get("unusable") or []
    lines = facts(
        {
            "cohort": store.uri,
            "samples": f"{mark['train']:,} to train on, {mark['validation']:,} held out, "
            f"{len(unusable):,} unusable",
            "volumes": _grid(mark["grid"]),
            "made from": _source(mark["source"]),
            "made by": str(mark["source"].get("command") or ""),
        }
    )
    lines += [f"unusable     {entry['participant_id']}: {entry['reason']}" for entry in unusable]
    chosen = _preset(str(mark["source"].get("command") or ""))
    then = ("train-autoencoder", "--cohort", place, *chosen, "--out", AUTOENCODER)
    end = told_end("", {"look": command("view", place)}, then)
    return "\n".join([*lines, "", _ranges(schema), end]), mark


def _latents(place: str, store: Store) -> tuple[str, dict[str, Any]]:
    mark = _finished(store, LATENTS_MARK, "encode-latents")
    bent = ", bent into other anatomies" if mark.get("deformed") else ""
    lines = facts(
        {
            "latents": store.uri,
            "copies": f"{mark['copies']} of each subject{bent}",
            "channels": str(len(mark["latent_mean"])),
            "made from": _source(mark["source"]),
            "made by": str(mark.get("command") or ""),
        }
    )
    chosen = _preset(str(mark.get("command") or ""))
    then = ("train-diffusion", "--latents", place, *chosen, "--name", "my-model")
    end = told_end("", {}, (*then, "--out", DIFFUSION))
    return "\n".join([*lines, "", _ranges(CovariateSchema.from_json(mark)), end]), mark


def _training(place: str, store: Store) -> tuple[str, dict[str, Any]]:
    run = read_run(store)
    looks = looks_table(run)
    folder = place.rstrip("/")
    told = {"previews": f"{folder}/previews", "curves": f"tensorboard --logdir {folder}"}
    then: list[Next] = []
    if run.model:
        told["look"] = command("view", f"{folder}/model")
        then = [printing(f"{folder}/model")]
    elif run.finished and run.kind == "autoencoder":
        words = ("encode-latents", "--cohort", "prepared", "--autoencoder", place)
        then = [(*words, "--out", LATENTS)]
    parts = [*told_status(run), *(["", "held-out people", looks] if looks else [])]
    return "\n".join([*parts, told_end("", told, *then)]), asdict(run)


def _report(place: str, store: Store) -> tuple[str, dict[str, Any]]:
    found = _finished(store, JSON_KEY, "evaluate")
    release = found.get("release")
    release = release if isinstance(release, dict) else {}
    told = release.get("evaluation")
    if not isinstance(told, dict):
        raise JobError(f"{store.uri}: of an earlier brainpress, or damaged; run evaluate again")
    evaluation = Evaluation.from_json({**told, "sha256": "0" * 64})  # its file tells no own digest
    assert evaluation is not None
    lines = facts(
        {
            "report": store.uri,
            "of": f"{one_line(release.get('label', ''))}: {evaluation.measured:,} volumes against "
            f"{evaluation.reference:,} real people",
            "privacy": " ".join([evaluation.said, *evaluation.reasons]),
        }
    )
    rows = [(figure.name, figure.told, f"{figure.n:,}") for figure in evaluation.figures]
    shown = table(("figure", "value", "n"), rows, right="llr")
    end = told_end("", {"look": command("view", place)})
    return "\n".join([*lines, "", shown, end]), found


_TOLD: dict[Kind, Callable[[str, Store], tuple[str, dict[str, Any]]]] = {
    Kind.MODEL: _model,
    Kind.COHORT: _cohort,
    Kind.LATENTS: _latents,
    Kind.TRAINING: _training,
    Kind.REPORT: _report,
}


def _finished(store: Store, mark: str, verb: str) -> dict[str, Any]:
    """The mark of what is finished.

    Raises:
        JobError: it is begun, and not finished.
    """
    found = document(store, mark)
    if found is None:
        raise JobError(
            f"{store.uri}: {verb} was begun there and is not finished (no {mark}); run the same "
            f"{verb} again to go on",
            exit_code=1,
        )
    return found


def _preset(made_by: str) -> list[str]:
    """`--preset NAME` of the command that made something, for the next one."""
    words = shlex.split(made_by)
    at = words.index("--preset") if "--preset" in words[:-1] else None
    return [] if at is None else words[at : at + 2]


def _grid(grid: dict[str, Any]) -> str:
    shape = " x ".join(map(str, grid["shape"]))
    return f"{shape} voxels of {grid['spacing']:g} mm, {grid.get('space', 'MNI152')} space"


def _source(source: dict[str, Any]) -> str:
    if source.get("kind") == "virtual":
        return f"a virtual cohort of {source.get('subjects')}, seed {source.get('seed')}"
    return ", ".join(str(source[k]) for k in ("dataset", "name", "license") if source.get(k))


def _ranges(schema: CovariateSchema) -> str:
    """A row a covariate: its range and its meaning."""
    if not len(schema):
        return "covariates   none: unconditional"
    rows = [(c.name, _range(c), c.description) for c in schema.covariates]
    return table(("covariate", "range", ""), rows)


def _range(covariate: Covariate) -> str:
    if covariate.levels:
        return ", ".join(covariate.levels)
    low, high = human_number(covariate.minimum), human_number(covariate.maximum)
    return f"{low} to {high} {covariate.unit}".rstrip()
