"""What is done to a subject's image besides placing it on the grid, and what that needs."""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import dataclass, field
from typing import Any

from ldm import contrasts
from ldm.contrasts import T1W
from ldm.covariates import CovariateSchema
from ldm.errors import LdmError
from ldm.measuring import MEASURED, choose_engine
from ldm.volumes.grid import CENTRED, MNI
from ray_jobs.errors import JobError
from ray_jobs.preparation.bids.choice import Choice
from ray_jobs.preparation.bids.sessions import named

SEGMENTER = "segmenter"  # the engine that knows brains alone


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one subject's image is put through.

    Attributes:
        placement: "centre", "affine" or "register".
        skull_strip: whether all but the brain is blackened first.
        measure: the engine that measures this subject's volumes, or None.
        head_scale: whether the size of the head is found by registration.
        inspect: whether it is looked at: a head or a brain, its tilt, what is cut off.
        suffix: its contrast.
        guide: of another contrast than T1w, the path of the person's T1w image of the session.
    """

    placement: str
    skull_strip: bool = False
    measure: str | None = None
    head_scale: bool = False
    inspect: bool = False
    suffix: str = T1W
    guide: str | None = None

    @property
    def registers(self) -> bool:
        """Whether the image must register to the template."""
        return self.placement == "register" or self.head_scale

    def to_json(self) -> dict[str, Any]:
        """What shapes a volume and is not the default; the placement always."""
        told: dict[str, Any] = {"placement": self.placement}
        if self.skull_strip:
            told["skull_strip"] = True
        if self.measure:
            told["measure"] = self.measure
        if self.measure == SEGMENTER and not self.skull_strip:
            told["heads"] = "stripped to be measured"  # earlier they were measured as they are
        if self.head_scale:
            told["head_scale"] = True
        if self.suffix != T1W:
            told["suffix"] = self.suffix
        return told


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a preparation: how images are placed and looked at for all, the rest by need.

    Attributes:
        placement: "register" unless the user says otherwise; a virtual cohort's images are made
            where they belong, and are neither registered nor inspected unless the user says so.
    """

    placement: str
    skull_strip: bool = False
    engine: str | None = None
    normalise: bool = False
    choice: Choice = field(default_factory=Choice)
    inspect: bool = False

    @property
    def space(self) -> str:
        """Of the grid on which volumes are placed so."""
        return CENTRED if self.inspect and self.placement == "centre" else MNI

    @classmethod
    def of(cls, args: argparse.Namespace, schema: CovariateSchema) -> Options:
        """The options that `args` name, checked against what is installed here.

        Raises:
            JobError: a package or program is missing, or there is no such covariate.
        """
        try:
            engine = None if args.measure is None else choose_engine(args.measure)
        except LdmError as error:
            raise JobError(f"--measure {args.measure}: {error}") from None
        if args.measure and not set(MEASURED) & set(schema.names):
            raise JobError(
                f"--measure {args.measure}: it measures {' and '.join(MEASURED)}; "
                f"the covariates are {', '.join(schema.names)}"
            )
        if args.normalise_brain_volume and "brain_volume" not in schema.names:
            raise JobError(
                "--normalise-brain-volume: expected a covariate brain_volume; "
                f"they are {', '.join(schema.names)}"
            )
        if args.session is not None and not args.session.removeprefix("ses-").strip():
            raise JobError(f"--session {args.session!r}: expected a session's name, or all")
        if args.cohort == "virtual" and (engine or args.normalise_brain_volume):
            raise JobError("a virtual cohort's volumes are known: nothing to measure or normalise")
        virtual = args.cohort == "virtual"
        placement = args.placement or ("centre" if virtual else "register")
        found = cls(
            placement=placement,
            skull_strip=args.skull_strip,
            engine=engine,
            normalise=args.normalise_brain_volume,
            choice=Choice(
                placement=placement,
                session=named(args.session),
                pattern=args.image,
                suffixes=suffixes_of(args.suffix),
            ),
            inspect=not virtual,
        )
        if found.inspect or found.placement == "register" or engine == "atlas":
            _need("SimpleITK", "registration", "press")
        if found.skull_strip:
            _need("deepbet", "--skull-strip", "strip")
        return found

    def work(
        self,
        *,
        unmeasured: bool,
        intracranial: bool,
        suffix: str = T1W,
        guide: str | None = None,
    ) -> Work:
        """What a subject needs who lacks volumes, or whose intracranial volume is known."""
        return Work(
            placement=self.placement,
            skull_strip=self.skull_strip,
            measure=self.engine if unmeasured else None,
            head_scale=self.normalise and not intracranial,
            inspect=self.inspect,
            suffix=suffix,
            guide=guide,
        )

    def to_json(self) -> dict[str, Any]:
        """What belongs to the identity of a run; nothing where it is the default."""
        told: dict[str, Any] = {"placement": self.placement}
        if self.skull_strip:
            told["skull_strip"] = True
        if self.engine:
            told["measure"] = self.engine
        if self.normalise:
            told["normalise_brain_volume"] = True
        return {**told, **self.choice.to_json()}


def suffixes_of(text: str) -> tuple[str, ...]:
    """The contrasts of `--suffix T1w,T2w`.

    Raises:
        JobError: none, an unknown one, or one twice.
    """
    try:
        return contrasts.checked([part.strip() for part in text.split(",") if part.strip()])
    except LdmError as error:
        raise JobError(f"--suffix {text}: {error}") from None


def _need(package: str, what: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise JobError(
            f"{what} needs {package}: pip install '.[{extra}]' in a checkout of brainpress"
        )
