"""The science of brainpress: volumes, covariates, networks, diffusion, training and sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldm.errors import LdmError
from ldm.volumes.grid import Grid

if TYPE_CHECKING:
    from ldm.models.base import LoadedModel

__all__ = ["Grid", "LdmError", "load"]


def load(source: str = "demo", *, device: str | None = None) -> LoadedModel:
    """The model in `source`, such as "demo", "monai" or a folder. See `ldm.loading.load`."""
    from ldm.loading import load as load_model

    return load_model(source, device=device)


def __dir__() -> list[Any]:
    return sorted(__all__)
