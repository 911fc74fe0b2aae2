"""The published bundle in the user's cache: fetched once by MONAI's downloader, then checked."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from ldm.errors import LdmError
from ldm.models.bundle.layout import AUTOENCODER, DENOISER, FILES

NAME = "brain_image_synthesis_latent_diffusion_model"
# As large_files.yml of the bundle in MONAI's model zoo states them.
PUBLISHED_MD5 = {
    AUTOENCODER: "329e97b3085643ff235f11f049856242",
    DENOISER: "21c3047556fb671caf0556f1cce6ef22",
}
BY_HAND = (
    f"where there is internet, run: python -m monai.bundle download --name {NAME} "
    f"--bundle_dir . and then give --model monai:{NAME}"
)


def cache_folder() -> Path:
    """Where brainpress keeps what it fetched: $BRAINPRESS_CACHE, else the user's cache folder."""
    own = os.environ.get("BRAINPRESS_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "brainpress"


def fetched() -> Path:
    """The folder of the published bundle, fetched first where it is not in the cache.

    Processes that want it at once wait for the one that fetches it. What was fetched counts only
    once its weights have the published checksums.

    Raises:
        LdmError: it cannot be fetched, or is not what was published.
    """
    cache = cache_folder()
    folder = cache / NAME
    if folder.is_dir():
        return folder
    with _alone(cache):
        if not folder.is_dir():  # another process may have fetched it meanwhile
            side = cache / "incomplete"
            _download(side)
            _check(side / NAME)
            os.rename(side / NAME, folder)
            shutil.rmtree(side, ignore_errors=True)
    return folder


def md5(path: Path) -> str:
    """md5, hexadecimal, of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def _download(folder: Path) -> None:
    """Have MONAI put the bundle into `folder`; it says what it does on standard error."""
    import monai.bundle

    folder.mkdir(parents=True, exist_ok=True)
    print(f"fetching {NAME} (2.3 GB) into {folder.parent}", file=sys.stderr, flush=True)
    logging.getLogger("monai.bundle.scripts").setLevel(logging.WARNING)
    try:
        with redirect_stdout(sys.stderr):
            monai.bundle.download(name=NAME, bundle_dir=str(folder))
    except Exception as error:  # each of MONAI's sources raises its own kinds
        reason = next(iter(str(error).strip().splitlines()), "")[:160]
        raise LdmError(
            f"monai: the published bundle cannot be fetched ({type(error).__name__}: {reason}); "
            f"{BY_HAND}",
            exit_code=1,
        ) from error


def _check(folder: Path) -> None:
    """Refuse, and remove, what is not the published bundle."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    wrong = [n for n, want in PUBLISHED_MD5.items() if n not in missing and md5(folder / n) != want]
    if missing or wrong:
        shutil.rmtree(folder, ignore_errors=True)
        what = f"without {', '.join(missing)}" if missing else f"with another {', '.join(wrong)}"
        raise LdmError(
            f"monai: the bundle came {what} than was published, and was removed; run the same "
            f"command again, or {BY_HAND}",
            exit_code=1,
        )


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Hold the cache's lock; it is given up with the process, however that ends."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / "lock").open("w")
    except OSError as error:
        raise LdmError(
            f"{cache}: {error.strerror}; set BRAINPRESS_CACHE to a folder that can be written to"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
