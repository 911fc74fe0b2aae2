"""The science of brainpress: volumes, covariates, networks, diffusion, training and sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldm.errors import LdmError
from ldm.grid import Grid

if TYPE_CHECKING:
    from ldm.model import Model

__all__ = ["Grid", "LdmError", "load"]


def load(source: str = "demo", *, device: str | None = None) -> Model:
    """The model in `source`: "demo", a folder, or an s3:// URI. See `ldm.model.load`."""
    from ldm.model import load as load_model

    return load_model(source, device=device)


def __dir__() -> list[Any]:
    return sorted(__all__)
