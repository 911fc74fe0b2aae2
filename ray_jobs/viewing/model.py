"""A model to play with: one noise, every covariate under one's hand, what is asked and measured."""

from __future__ import annotations

import base64
import math
import os
import threading
import time
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ldm import noise
from ldm.contrasts import T1W
from ldm.covariates import Covariate, Row
from ldm.covariates.plausible import beyond, check_asked
from ldm.errors import LdmError
from ldm.models.description import ModelDescription
from ldm.volumes.conversion import quantise
from manifests.storage.base import content_type_of
from ray_jobs.viewing.site import Content, Site, WrongAskedError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ldm.models.base import LoadedModel
    from ldm.models.latent_diffusion import Model

ASSETS = ("index.html", "model.css", "model.js", "planes.js")
MOST_THREADS, MOST_SEED = 8, 2**31
DRAWN_FOR_SPREAD = 512  # people of the model's own cohort, of whom ranges and middles are told
MEASURED_BY = "in the volume itself, by the segmenter that comes with brainpress"
# What is measured -> the covariate that it is held against, by its usual name.
MEASURES = ("ventricular_volume", "brain_volume", "age", "sex")


class ModelSite(Site):
    """The page of a model, which draws what its page asks for.

    Args:
        model: loaded.
        source: as the user called it, for commands.
    """

    def __init__(self, model: LoadedModel, source: str) -> None:
        self._model, self._source = model, source
        self._turn = threading.Lock()  # one volume at a time: they share the cores
        self._last: tuple[Row, int, np.ndarray] | None = None
        self._begun: tuple[Row, int, Tensor] | None = None

    def get(self, key: str) -> Content | None:
        if key not in ASSETS:
            return None
        data = (files("ray_jobs.viewing") / "assets" / key).read_bytes()
        return Content.of(data, content_type_of(key))

    def answer(self, key: str, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        answers = {
            "about": self._about,
            "sketch": self._sketch,
            "draw": self._draw,
            "measure": self._measure,
        }
        if key not in answers:
            return None
        try:
            return answers[key](asked)
        except LdmError as error:
            raise WrongAskedError(str(error)) from None

    def _about(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        told = about(self._model.description, self._source)
        return {**told, "sketches": self._refined is not None}

    def _sketch(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The volume before its fine structure, which takes most of the time."""
        row, seed = self._asked(asked)
        if self._refined is None:
            raise WrongAskedError("this model draws a volume in one")
        began = time.monotonic()
        with self._turn:
            levels = quantise(self._refined.decode(self._latents(self._refined, row, seed))[0])
        return self._shown(levels, row, began)

    def _draw(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        row, seed = self._asked(asked)
        began = time.monotonic()
        return self._shown(self._levels(row, seed), row, began)

    def _shown(self, levels: np.ndarray, row: Row, began: float) -> dict[str, Any]:
        return {
            "shape": list(levels.shape),
            "spacing": self._model.grid.spacing,
            # 12 bits to 8, in x, y, z order, x the fastest.
            "voxels": base64.b64encode((levels >> 4).astype("u1").tobytes(order="F")).decode(),
            "seconds": round(time.monotonic() - began, 2),
            "beyond": beyond(self._model.schema, row),
        }

    def _measure(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        row, seed = self._asked(asked)
        if self._model.description.suffix_of(row) != T1W:
            raise WrongAskedError("measured on T1w images alone")
        levels = self._levels(row, seed)
        with self._turn:
            return {"by": MEASURED_BY, "found": measured(levels, self._model)}

    def _levels(self, row: Row, seed: int) -> np.ndarray:
        """The volume (X, Y, Z), 12 bits; the last one is kept."""
        with self._turn:
            if self._last is not None and self._last[:2] == (row, seed):
                return self._last[2]
            if self._refined is None:
                levels = self._model.generate([row], [(seed,)])[0]
            else:
                latents = self._latents(self._refined, row, seed)
                levels = self._refined.finish(latents, [(seed,)])[0]
            self._last = (row, seed, levels)
            return levels

    def _latents(self, model: Model, row: Row, seed: int) -> Tensor:
        """What the sketch and the volume are both made of; the last one's are kept."""
        if self._begun is None or self._begun[:2] != (row, seed):
            self._begun = (row, seed, model.sample_latents([row], [(seed,)]))
        return self._begun[2]

    @property
    def _refined(self) -> Model | None:
        """The model, if a sketch of its volumes can be had before they are finished."""
        from ldm.models.latent_diffusion import Model

        model = self._model
        return model if isinstance(model, Model) and model.has_refiner else None

    def _asked(self, asked: Mapping[str, Any]) -> tuple[Row, int]:
        """Covariates, complete, and the seed.

        Raises:
            WrongAskedError, LdmError: others than the model's, or what no person has.
        """
        seed, given = asked.get("seed"), asked.get("covariates")
        if type(seed) is not int or not 0 <= seed < MOST_SEED:
            raise WrongAskedError(f"seed: expected a number from 0 to {MOST_SEED - 1}")
        if not isinstance(given, dict):
            raise WrongAskedError("covariates: expected one value for each")
        row = self._model.schema.validate(given)
        check_asked(self._model.schema, row)
        return row, seed


def about(description: ModelDescription, source: str) -> dict[str, Any]:
    """What the page is told of a model: its covariates with their sliders, and how to print."""
    drawn = _people(description)
    card = description.card
    return {
        "name": description.name,
        "told": str(card.get("description") or ""),
        "demo": bool(card.get("demo")),
        "source": source,
        "measured_by": MEASURED_BY,
        "covariates": [
            _slider(covariate, [row[covariate.name] for row in drawn])
            for covariate in description.schema.covariates
        ],
    }


def measured(levels: np.ndarray, model: LoadedModel) -> dict[str, float | str]:
    """What the segmenter finds in a volume, by the names of covariates, in mm3 and years.

    Raises:
        LdmError: it is no brain cut out of its head, or no T1w.
    """
    from ldm.measuring.people import load_people
    from ldm.measuring.segmenter import load_segmenter

    segmentation = load_segmenter().segment(levels.astype("float32"), model.grid.affine)
    volumes, person = segmentation.volumes(), load_people().judge(segmentation)
    found: dict[str, float | str] = {name: volumes[name] for name in MEASURES if name in volumes}
    return {**found, "age": round(person.age, 1), "sex": person.sex}


def view_model(source: str) -> ModelSite:
    """The site of the model at `source`.

    Raises:
        LdmError: no model there, or a damaged one.
    """
    # A thread that waits for others must not keep a core that another program wants.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    from ldm.loading import load
    from ldm.models.notebook import idle_cores

    torch.set_num_threads(min(MOST_THREADS, idle_cores()))
    return ModelSite(load(source), source)


def _people(description: ModelDescription) -> list[Row]:
    rng = [noise.generator(noise.COVARIATES, 0, index) for index in range(DRAWN_FOR_SPREAD)]
    return [description.distribution.sample(one) for one in rng]


def _slider(covariate: Covariate, drawn: list[Any]) -> dict[str, Any]:
    """Where a covariate begins and ends, and its middle in the model's own cohort."""
    told: dict[str, Any] = {
        "name": covariate.name,
        "unit": covariate.unit,
        "description": covariate.description,
        "levels": list(covariate.levels),
        "measured": covariate.name in MEASURES,
    }
    if covariate.levels:
        return {**told, "value": max(covariate.levels, key=drawn.count)}
    step = 10.0 ** math.floor(math.log10((covariate.maximum - covariate.minimum) / 200))
    middle = sorted(drawn)[len(drawn) // 2]
    return {
        **told,
        "minimum": covariate.minimum,
        "maximum": covariate.maximum,
        "step": step,
        "value": float(f"{round(middle / step) * step:.6g}"),
    }
