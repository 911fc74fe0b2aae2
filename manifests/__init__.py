"""The release: its format, its ledger, where it lies, and how it is read back and checked."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manifests.errors import ReleaseError
    from manifests.query.release import Release
    from manifests.storage import open_store
    from manifests.volumes.dataset import Volumes

__all__ = ["Release", "ReleaseError", "Volumes", "open_store"]

_HOMES = {
    "Release": "manifests.query.release",
    "ReleaseError": "manifests.errors",
    "Volumes": "manifests.volumes.dataset",
    "open_store": "manifests.storage",
}


def __getattr__(name: str) -> Any:
    """The face's names, imported at first use: `import manifests` alone is light."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
