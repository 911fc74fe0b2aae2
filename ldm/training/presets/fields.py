"""The fields of a preset's file: which there are, of what type, and how each is checked."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from ldm.errors import LdmError

T = TypeVar("T")

# What only a training with a critic, only the autoencoder's, only the diffusion model's has.
_CRITIC = {"critic_learning_rate", "adversarial_weight", "adversarial_from"}
_AUTOENCODER = {"kl_weight", "perceptual_weight", "adversarial_warmup"}
_DIFFUSION = {"condition_dropout", "loss_weighting", "timesteps"}
# Fields that no file has: they follow from others, from the cohort, or do nothing in that part.
LEFT_OUT: Mapping[str, frozenset[str]] = {
    "": frozenset({"name"}),
    "grid": frozenset({"space"}),
    "autoencoder": frozenset({"mirrored", "refiner"}),
    "denoiser": frozenset(
        {"latent_channels", "conditions", "condition_mean", "condition_std", "null_condition"}
    ),
    "schedule": frozenset({"truncation"}),
    "train_autoencoder": frozenset(_DIFFUSION),
    "train_diffusion": frozenset(_CRITIC | _AUTOENCODER),
    "train_decoder": frozenset(_CRITIC | _AUTOENCODER | _DIFFUSION),
    "train_features": frozenset({"seed"} | _CRITIC | _AUTOENCODER | _DIFFUSION),
}
# Of the paper; a cohort that has others brings its own number.
_CONDITIONS = 4

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_PLURAL = {int: "whole numbers", float: "numbers", bool: "true or false each"}


def names(kind: type, part: str = "") -> dict[str, dataclasses.Field[Any]]:
    """The fields that a file has of this part of a preset; "" is the whole."""
    left_out = LEFT_OUT.get(part, frozenset())
    return {f.name: f for f in dataclasses.fields(kind) if f.name not in left_out}


def told(value: Any, part: str = "") -> dict[str, Any]:
    """The fields that a file has of `value`, a preset or a part of one, as JSON."""
    document: dict[str, Any] = {}
    for name in names(type(value), part):
        field = getattr(value, name)
        if dataclasses.is_dataclass(field):
            document[name] = told(field, name)
        else:
            document[name] = list(field) if isinstance(field, tuple) else field
    return document


def read(kind: type[T], document: Mapping[str, Any], preset: str) -> T:
    """A preset from a file's fields; the U-Net takes its latent channels from the autoencoder.

    Args:
        kind: the class of presets.
        preset: its name, for the preset and for messages.

    Raises:
        LdmError: a field that is unknown, missing, of another type or does not work.
    """
    _check_known(kind, document, preset, "")
    parts: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        if name not in names(kind):
            continue
        if not dataclasses.is_dataclass(hint):
            if (found := _field(kind, document, preset, "", name)) is not dataclasses.MISSING:
                parts[name] = found
            continue
        if name not in document and names(kind)[name].default is not dataclasses.MISSING:
            continue
        more: dict[str, Any] = {}
        if name == "denoiser":
            channels = parts["autoencoder"].latent_channels
            more = {"latent_channels": channels, "conditions": _CONDITIONS}
        parts[name] = _part(hint, document, preset, name, more)
    whole: Any = kind
    made: T = whole(name=preset, **parts)
    return made


def _part(
    kind: Any, document: Mapping[str, Any], preset: str, part: str, more: dict[str, Any]
) -> Any:
    """A part of a preset, with the fields `more` that no file has."""
    given = document.get(part)
    if not isinstance(given, dict):
        found = f"is {_short(given)}" if part in document else "is missing"
        _refuse(preset, f"{part} {found}: expected an object with its fields")
    _check_known(kind, given, preset, part)
    values = {name: _field(kind, given, preset, part, name) for name in names(kind, part)}
    given_ones = {k: v for k, v in values.items() if v is not dataclasses.MISSING}
    try:
        return kind(**given_ones, **more)
    except LdmError as error:
        _refuse(preset, f"{part}: {error}")


def _check_known(kind: type, document: Mapping[str, Any], preset: str, part: str) -> None:
    known = names(kind, part)
    for name in document:
        if name in known:
            continue
        path = _path(part, name)
        if name in LEFT_OUT.get(part, frozenset()):
            _refuse(preset, f"{path} is no field of a file: {_why(part, name)}; leave it out")
        if close := difflib.get_close_matches(name, known, n=1):
            _refuse(preset, f"unknown field {path}: did you mean {_path(part, close[0])}?")
        _refuse(preset, f"unknown field {path}: expected {', '.join(known)}")


def _why(part: str, name: str) -> str:
    if name == "seed":
        return "it is train_autoencoder.seed"
    if part.startswith("train_"):
        return f"it does nothing in {part}"
    return {
        ("", "name"): "a preset is called as its file is",
        ("denoiser", "latent_channels"): "it is the autoencoder's",
        ("grid", "space"): "prepare --placement says it",
        ("schedule", "truncation"): "train-decoder --truncation says it",
        ("autoencoder", "mirrored"): "it is of published weights alone",
        ("autoencoder", "refiner"): "it stands beside the autoencoder, as refiner",
    }.get((part, name), "it follows from the cohort's covariates")


def _field(kind: type, document: Mapping[str, Any], preset: str, part: str, name: str) -> Any:
    """The value of a field; MISSING where it is left out and has a default."""
    hint = get_type_hints(kind)[name]
    if name not in document:
        if names(kind, part)[name].default is not dataclasses.MISSING:
            return dataclasses.MISSING
        _refuse(preset, f"{_path(part, name)} is missing: expected {_words(hint)}")
    value = _converted(document[name], hint)
    if value is None:
        _refuse(preset, f"{_path(part, name)} is {_short(document[name])}: expected {_words(hint)}")
    return value


def _converted(value: Any, hint: Any) -> Any:
    """`value` as the type of `hint`; None where it is not one."""
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            return None
        kinds = get_args(hint)
        kinds = (kinds[0],) * len(value) if kinds[1:] == (...,) else kinds
        if len(kinds) != len(value):
            return None
        members = [_converted(member, kind) for member, kind in zip(value, kinds, strict=True)]
        return None if None in members else tuple(members)
    if hint in (bool, str):
        return value if isinstance(value, hint) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    if hint is float:
        return float(value)
    return int(value) if value == int(value) else None  # 1e5 is a float to JSON


def _words(hint: Any) -> str:
    if get_origin(hint) is not tuple:
        return _WORDS[hint]
    kinds = get_args(hint)
    plural = _PLURAL[kinds[0]]
    return f"a list of {plural}" if kinds[1:] == (...,) else f"a list of {len(kinds)} {plural}"


def type_words(kind: type, name: str) -> str:
    """The type of a field, for people: "a list of 3 whole numbers"."""
    return _words(get_type_hints(kind)[name])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _path(part: str, name: str) -> str:
    return f"{part}.{name}" if part else name


def _refuse(preset: str, problem: str) -> NoReturn:
    raise LdmError(f"preset {preset}: {problem}")
