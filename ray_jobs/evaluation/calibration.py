"""The job of `brainpress calibrate`: what an evaluation found of a model goes into the model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ldm.covariates import CovariateSchema
from ldm.covariates.calibration import Plane, calibrate
from ldm.diffusion.config import Sampling
from ldm.errors import LdmError
from ldm.loading import describe
from ldm.models.bundle.source import is_bundle
from ldm.models.card import without_privacy
from ldm.models.description import AUTOENCODER, DENOISER, LATENT_DIFFUSION, ModelDescription
from ldm.models.folder import verified, write
from manifests.publish.evaluation import AGAIN, JSON_KEY, read_document
from manifests.terminal import told_end
from ray_jobs.command_line import command_line
from ray_jobs.ending import command, printing
from ray_jobs.errors import JobError
from ray_jobs.evaluation.sources import REAL
from ray_jobs.files import output_folder


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an evaluation tells of the release that it is about.

    Attributes:
        model: fingerprint of the model that printed it.
        sampling: how its volumes were drawn.
        volumes, people: by covariate, `Relation` as JSON, of its volumes and of unseen people.
        responses: by covariate, `Response` as JSON, of its volumes.
    """

    model: str
    sampling: Sampling
    volumes: dict[str, Any]
    people: dict[str, Any]
    responses: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """The covariates whose slope is known, of volumes and of people."""
        both = (self.volumes, self.people)
        return [name for name in self.responses if all(_slope_known(one, name) for one in both)]


def calibrate_model(args: argparse.Namespace) -> int:
    """Write the calibrated model, whole or not at all.

    Raises:
        JobError: an evaluation of another model, a wrong covariate or share, a folder that is not
            empty, or nothing to calibrate (exit code 1).
        ReleaseError: no evaluation there, or a damaged one.
        LdmError: a model that cannot be read, or answers too weakly.
    """
    if not 0 < args.share <= 1:
        raise JobError(f"--share {args.share:g}: expected above 0, to 1")
    description = _latent_diffusion(args.model)
    found = read_findings(Path(args.evaluation).expanduser())
    if found.model != description.fingerprint:
        raise JobError(
            f"--evaluation {args.evaluation}: its release was printed by another model (fingerprint"
            f" {found.model[:12]}, that of {args.model} is {description.fingerprint[:12]}); print "
            "a release with this one, and evaluate it"
        )
    chosen = _chosen(found, args.covariate)
    folder = Path(args.out).expanduser()
    if folder.is_dir() and any(folder.iterdir()):
        raise JobError(f"--out {args.out} is not empty; give a new folder")
    calibrated = _calibrated(description, found, chosen, args)
    files = {
        name: verified(args.model, name, description.files) for name in (AUTOENCODER, DENOISER)
    }
    write(output_folder(args.out, what="the model"), calibrated, files)
    print("\n".join(_told(found, chosen, calibrated)))
    made = f"model: {args.out}; recommends {calibrated.sampling.text}, as it was evaluated"
    print(told_end(made, {"look": command("view", args.out)}, printing(args.out)))
    return 0


def read_findings(folder: Path) -> Found:
    """What the evaluation.json in `folder` tells.

    Raises:
        ReleaseError: none there, or a damaged one.
        JobError: one of an earlier brainpress.
    """
    document = read_document(folder)
    try:
        release = document["release"]
        conditioning, label = document["conditioning"], release["label"]
        return Found(
            model=str(release["model"]),
            sampling=Sampling(**release["sampling"]),
            volumes=conditioning[label],
            people=conditioning[REAL],
            responses=document["responses"][label],
        )
    except (KeyError, TypeError, LdmError):
        raise JobError(
            f"{folder / JSON_KEY} tells no model or no responses of its release: it is of an "
            f"earlier brainpress, or damaged; {AGAIN}"
        ) from None


def _latent_diffusion(source: str) -> ModelDescription:
    description = describe(source)
    if is_bundle(source) or description.kind != LATENT_DIFFUSION or not len(description.schema):
        raise JobError(
            f"{source}: expected a latent diffusion model with covariates, in a folder of "
            "brainpress's own; others cannot be calibrated"
        )
    return description


def _chosen(found: Found, asked: list[str] | None) -> list[str]:
    """The covariates to calibrate, in the order of the evaluation."""
    if asked is None:
        chosen = [name for name in found.names if not _meet(found, name)]
        if not chosen:
            raise JobError(
                "nothing to calibrate: in no covariate does the volumes' slope differ from "
                "people's by more than both intervals; name one with --covariate to do so anyway",
                exit_code=1,
            )
        return chosen
    for name in asked:
        if name not in found.names:
            raise JobError(
                f"--covariate {name}: not measured on volumes and unseen people; expected "
                f"{' or '.join(found.names) or 'an evaluation that measured some'}"
            )
    return [name for name in found.names if name in asked]


def _slope_known(relations: dict[str, Any], name: str) -> bool:
    return None not in relations.get(name, {}).get("slope", {"value": None}).values()


def _meet(found: Found, name: str) -> bool:
    """Whether the intervals of the two slopes have anything in common."""
    one, other = found.volumes[name]["slope"], found.people[name]["slope"]
    return bool(one["low"] <= other["high"] and other["low"] <= one["high"])


def _calibrated(
    description: ModelDescription, found: Found, chosen: list[str], args: argparse.Namespace
) -> ModelDescription:
    schema = description.schema
    correction = calibrate(
        schema,
        {name: _answer(found.responses[name], schema, name) for name in chosen},
        {name: _wanted(found.people[name], schema, name) for name in chosen},
        share=args.share,
    )
    training = dict(description.card.get("training", {}))
    training["commands"] = [*training.get("commands", []), command_line("calibrate", args)]
    return replace(
        description,
        calibration=description.calibration.after(correction, schema),
        sampling=found.sampling,
        card={**without_privacy(description.card, "calibrate"), "training": training},
    )


def _answer(response: dict[str, Any], schema: CovariateSchema, name: str) -> Plane:
    """How the measured covariate, scaled, follows all that are asked."""
    extent = schema[name].maximum - schema[name].minimum
    return Plane(
        constant=(response["constant"]["value"] - schema[name].minimum) / extent,
        weights={of: effect["value"] / extent for of, effect in response["effects"].items()},
    )


def _wanted(people: dict[str, Any], schema: CovariateSchema, name: str) -> Plane:
    """The tool's own line on people, scaled: it follows that covariate, and no other."""
    low, slope = schema[name].minimum, people["slope"]["value"]
    at_low = people["intercept"]["value"] + slope * low
    return Plane(constant=(at_low - low) / (schema[name].maximum - low), weights={name: slope})


def _told(found: Found, chosen: list[str], calibrated: ModelDescription) -> Iterator[str]:
    """What was done about each covariate, a line each."""
    for name in found.names:
        slopes = [
            "{value:.3f} ({low:.3f} to {high:.3f})".format(**one[name]["slope"])
            for one in (found.volumes, found.people)
        ]
        done = "left as it is"
        if name in chosen:
            done = f"told {_formula(calibrated.calibration.planes[name])}, scaled to 0..1"
        yield f"{name}: slope {slopes[0]}, in unseen people {slopes[1]}: {done}"


def _formula(plane: Plane) -> str:
    """`1.85 brain_volume + 0.95 ventricular_volume - 0.70`, the largest weight first."""
    weights = sorted(plane.weights.items(), key=lambda item: -abs(item[1]))
    terms = [f"{weight:+.2f} {name}" for name, weight in weights] + [f"{plane.constant:+.2f}"]
    shown = [term for term in terms if not term[1:].startswith("0.00")]
    return " ".join(f"{term[0]} {term[1:]}" for term in shown).removeprefix("+ ")
