"""The recipe of a release: what, with a sample's index and the model, determines its volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ldm.covariates import Row
from ldm.diffusion.config import Sampler, Sampling
from ldm.models.description import ONE_PASS
from ldm.volumes.quality import Strictness
from ray_jobs.errors import JobError
from ray_jobs.generation.covariates import CovariateSource
from ray_jobs.generation.options import Options

SAMPLING = ("sampler", "steps", "eta", "guidance")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the samples of a release are drawn; pinned in its plan, and handed on whole.

    Attributes:
        seed: of the release; with the index it determines a sample.
        sampling: how a latent is denoised; None of a GAN, which makes a volume in one pass.
        attempts: draws of a sample before it counts as failed.
        batch_size: volumes of a forward pass.
        source: the covariates of each sample.
        quality: how much of the model's bounds a volume has to keep.
    """

    seed: int
    sampling: Sampling | None
    attempts: int
    batch_size: int
    source: CovariateSource
    quality: Strictness = Strictness.MODEL

    @classmethod
    def pinned(cls, fields: Mapping[str, Any], source: CovariateSource) -> Recipe:
        """The recipe that a plan's fields pin.

        Args:
            source: the one whose identity is among the fields.
        """
        how = sampling_in(fields)
        return cls(
            seed=fields["seed"],
            sampling=None if how["sampler"] == ONE_PASS else Sampling(**how),
            attempts=fields["attempts"],
            batch_size=fields["batch_size"],
            source=source,
            quality=Strictness(fields.get("quality", Strictness.MODEL)),
        )

    def fields(self) -> dict[str, Any]:
        """What a plan says of it, apart from the batch size, which stands there by the shard's."""
        how = self.sampling
        drawn: dict[str, Any] = {"sampler": ONE_PASS, "steps": 1, "eta": 0.0}
        if how is not None:
            drawn = {
                "sampler": str(how.sampler),
                "steps": how.count,
                "eta": how.noise_share or 0.0,
            }
            # Named where it matters alone, so that releases begun before there was any go on.
            drawn |= {} if how.guidance == 1 else {"guidance": how.guidance}
        return {
            **drawn,
            "seed": self.seed,
            "covariates": self.source.identity,
            "fixed": dict(self.source.fixed),
            "attempts": self.attempts,
            **({} if self.quality is Strictness.MODEL else {"quality": str(self.quality)}),
        }

    @property
    def steps(self) -> int:
        """Passes through the network for a volume."""
        return 1 if self.sampling is None else self.sampling.count

    def of_steps(self, steps: int) -> Recipe:
        """The same with another number of steps, to time it; a GAN has one whatever is asked."""
        how = self.sampling
        return self if how is None else replace(self, sampling=replace(how, steps=steps))

    def keywords(self) -> dict[str, Any]:
        """How to draw, as keywords of a model's `generate`."""
        if self.sampling is None:
            return {"sampler": ONE_PASS, "steps": 1, "eta": 0.0, "guidance": 1.0}
        return self.sampling.options()

    def covariates(self, batch: range) -> list[Row]:
        """Of every index of a batch, in physical units."""
        return [self.source.draw(self.seed, index) for index in batch]

    def keys(self, batch: range, attempt: int) -> list[tuple[int, ...]]:
        """The noise key of every index of a batch: all that its noise is a function of."""
        return [(self.seed, index, attempt) for index in batch]


def sampling_in(fields: Mapping[str, Any]) -> dict[str, Any]:
    """How a plan's fields say that volumes are drawn, as keywords of a model's `generate`."""
    return {
        "sampler": fields["sampler"],
        "steps": fields["steps"],
        "eta": 0.0 if fields["sampler"] == Sampler.DDPM else fields["eta"],
        "guidance": fields.get("guidance", 1.0),
    }


def settled(options: Options, usual: Sampling, *, one_pass: bool) -> Sampling | None:
    """How to sample; what the user left out is as usual. None of a GAN.

    Args:
        usual: what a sampler, steps, eta and guidance that were left out are taken from.
        one_pass: whether the model is a GAN, which makes a volume in one pass.

    Raises:
        JobError: they were given for a GAN, or a release without conditions is asked for.
        LdmError: an unknown sampler, or options that do not go together.
    """
    given = {name: getattr(options, name) for name in SAMPLING}
    if not one_pass:
        sampling = usual.altered(**given)
        if not sampling.guidance:
            raise JobError(
                "--guidance 0: it leaves the covariates out, and a release tells of each volume "
                "those it was asked for; give more than 0, or sample without them in Python: "
                "model.sample(unconditional=True)"
            )
        return replace(sampling, steps=sampling.count)
    for name, value in given.items():
        if value is not None:
            raise JobError(
                f"--{name} {value}: {options.model} is a GAN, which makes a volume in one pass; "
                f"leave --{name} out"
            )
    return None
