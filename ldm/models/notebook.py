"""What a loaded model shows of itself in a notebook, and what it lets one complete there."""

from __future__ import annotations

import base64
import html
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, update_wrapper
from typing import Any, Protocol, TypeVar, cast

from ldm.covariates.covariate import Covariate
from ldm.covariates.schema import CovariateSchema
from ldm.volumes.grid import Grid

Method = TypeVar("Method", bound=Callable[..., Any])
# Voxels of a volume that one thread samples sooner than several that wait for each other.
SMALL = 1_000_000


class Shown(Protocol):
    """What of a loaded model is looked at here; see `ldm.models.base.LoadedModel`."""

    device: str

    @property
    def name(self) -> str: ...

    @property
    def card(self) -> dict[str, Any]: ...

    @property
    def schema(self) -> CovariateSchema: ...

    @property
    def grid(self) -> Grid: ...

    def sample(self, *, seed: int = ..., **options: Any) -> Any: ...


class Covariates(Mapping[str, Covariate]):
    """The covariates of a model, by name: `model.covariates.age`, `model.covariates["age"]`."""

    def __init__(self, schema: CovariateSchema) -> None:
        self._schema = schema

    def __getitem__(self, name: str) -> Covariate:
        return self._schema[name]

    def __getattr__(self, name: str) -> Covariate:
        if name.startswith("_") or name not in self._schema.names:
            known = ", ".join(self._schema.names) or "none"
            raise AttributeError(f"no covariate {name!r}; this model has {known}")
        return self._schema[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._schema.names)

    def __len__(self) -> int:
        return len(self._schema)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._schema.names})

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        return "\n".join(f"{c.name:{width}}  {extent(c)}" for c in self.values()) or "no covariates"


def extent(covariate: Covariate) -> str:
    """What a covariate may be, in words: `20 to 79.5 year`, `F or M`."""
    if not covariate.is_continuous:
        return " or ".join(covariate.levels)
    return f"{covariate.minimum:g} to {covariate.maximum:g} {covariate.unit}".rstrip()


class _Completed:
    """A method whose signature names the covariates of the very model it is asked of."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        update_wrapper(cast(Any, self), method)

    def __get__(self, model: Shown | None, owner: type | None = None) -> Any:
        if model is None:
            return self._method
        bound = partial(self._method, model)
        update_wrapper(cast(Any, bound), self._method)
        cast(Any, bound).__signature__ = _signature(self._method, model.schema)
        return bound


def completed(method: Method) -> Method:
    """Decorate a `sample(**covariates)`, so that notebooks complete `model.sample(age=`."""
    return cast(Method, _Completed(method))


def _signature(method: Callable[..., Any], schema: CovariateSchema) -> inspect.Signature:
    told = inspect.signature(method)
    own = [p for name, p in told.parameters.items() if name != "self"]
    named = [p for p in own if p.kind is not inspect.Parameter.VAR_KEYWORD]
    taken = {p.name for p in named}
    covariates = [
        inspect.Parameter(
            c.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation="float | None" if c.is_continuous else "str | None",
        )
        for c in schema.covariates
        if c.name not in taken
    ]
    return told.replace(parameters=[*covariates, *named])


@contextmanager
def few_threads(model: Shown) -> Iterator[None]:
    """As many threads as a volume is quickest with, for the time of a block.

    On a busy machine threads that wait for each other take a hundred times as long as one, which
    also rounds as the workers of `generate` do. A large volume gets the cores that are idle.
    """
    import torch

    if torch.device(model.device).type != "cpu":
        yield
        return
    before = torch.get_num_threads()
    x, y, z = model.grid.shape
    torch.set_num_threads(1 if x * y * z <= SMALL else min(before, idle_cores()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def idle_cores() -> int:
    """Cores of this process that nobody uses now, by the load of the last minute; at least one."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, (there or 1) - round(busy))


def as_text(model: Shown) -> str:
    """A model in a few lines, for a console."""
    return f"{_head(model)}\n{Covariates(model.schema)!r}\n{_example(model)}"


def as_html(model: Shown) -> str:
    """A model in a notebook: what it is, its covariates, and a volume of a small one."""
    rows = "".join(
        f"<tr><td><code>{html.escape(c.name)}</code></td><td>{html.escape(extent(c))}</td>"
        f"<td style='text-align:left'>{html.escape(c.description)}</td></tr>"
        for c in model.schema.covariates
    )
    return (
        f"<p><b>{html.escape(_head(model))}</b></p><table>{rows}</table>{_picture(model)}"
        f"<pre>{html.escape(_example(model))}</pre>"
    )


def _head(model: Shown) -> str:
    sides = " x ".join(map(str, model.grid.shape))
    people = model.card.get("training", {}).get("subjects")
    learnt = f", trained on {people:,} people" if isinstance(people, int) else ""
    return (
        f"{model.name}: {sides} voxels of {model.grid.spacing:g} mm, {model.grid.space_text}"
        f"{learnt}; on {model.device}"
    )


def _example(model: Shown) -> str:
    given = []
    for c in model.schema.covariates[:2]:
        middle = f"{(c.minimum + c.maximum) / 2:.3g}"
        given.append(f"{c.name}={middle if c.is_continuous else repr(c.levels[0])}")
    return f"model.sample({', '.join([*given, 'seed=1'])})"


def _picture(model: Shown) -> str:
    """A volume in three planes, of a model that draws one in a second or two."""
    x, y, z = model.grid.shape
    if x * y * z > SMALL:
        return ""
    from ldm.volumes.previews import mosaic

    png = mosaic([model.sample(seed=0).get_fdata()], ["model.sample(seed=0)"])
    return f"<img alt='a volume in three planes' src='data:image/png;base64,{_base64(png)}'>"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
