"""Which sources of a model are MONAI bundles, and the folder in which each lies."""

from __future__ import annotations

from pathlib import Path

from ldm.errors import LdmError
from ldm.models.bundle.fetch import fetched
from ldm.models.bundle.layout import FILES

PREFIX = "monai"


def is_bundle(source: str | Path) -> bool:
    """Whether `source` is "monai", the published bundle, or "monai:DIR", an unpacked one."""
    text = str(source)
    return text == PREFIX or text.startswith(f"{PREFIX}:")


def located(source: str) -> str:
    """A bundle's source with the full path of its folder, as every process understands it."""
    if source == PREFIX:
        return source
    return f"{PREFIX}:{_given(source).absolute()}"


def folder_of(source: str | Path) -> Path:
    """The folder of a bundle; the published one is fetched where it is not there yet.

    Raises:
        LdmError: no such folder, no bundle in it, or the published one cannot be fetched.
    """
    if str(source) == PREFIX:
        return fetched()
    folder = _given(str(source))
    if not folder.is_dir():
        raise LdmError(f"{source}: no such folder; expected {PREFIX}:DIR, DIR an unpacked bundle")
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise LdmError(
            f"{source}: {' and '.join(missing)} missing; expected an unpacked MONAI bundle with "
            f"{', '.join(FILES)}"
        )
    return folder


def _given(source: str) -> Path:
    folder = source.removeprefix(f"{PREFIX}:")
    if not folder or "://" in folder:
        raise LdmError(
            f"{source}: expected {PREFIX}, or {PREFIX}:DIR with DIR the folder of a bundle"
        )
    return Path(folder).expanduser()
