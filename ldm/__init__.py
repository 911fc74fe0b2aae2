"""The science of brainpress: volumes, covariates, networks, diffusion, training and sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldm.errors import LdmError
from ldm.volumes.grid import Grid

if TYPE_CHECKING:
    from ldm.models.base import LoadedModel

__all__ = ["Grid", "LdmError", "load"]


def load(source: str = "demo", *, device: str | None = None) -> LoadedModel:
    """The model in `source`, such as "demo", "monai" or a folder. See `ldm.loading.load`.

    Raises:
        LdmError: no model there, or one of the libraries is missing that printing takes.
    """
    try:
        from ldm.loading import load as load_model

        return load_model(source, device=device)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "ldm":
            raise
        raise LdmError(
            f"ldm.load needs {error.name}, which the light install leaves out; install what "
            "prints: pip install 'brainpress[press]', or pip install '.[press]' in a checkout"
        ) from None


def __dir__() -> list[Any]:
    return sorted(__all__)
