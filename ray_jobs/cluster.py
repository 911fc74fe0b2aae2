"""Joining a Ray cluster, or starting one on this machine, quietly."""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray_jobs.errors import JobError

# Enough for what the jobs send through it: volumes go from a worker straight to their place.
# Ray's default of 30 % of memory is meant for more.
OBJECT_STORE_BYTES = 256 * 1024**2
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # The paragraph that Ray prints for every lost worker; the jobs tell it in a line.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    # Of an own Ray's workers, which else let everything on a shared machine run first (15).
    "RAY_worker_niceness": "0",
}
# Of an address that nobody serves; Ray itself would try for 20 minutes without a word.
PATIENCE_SECONDS = 10.0
# A busy machine may take longer to start an own Ray than the 30 s that Ray gives itself.
STARTS = 3
_TOO_SLOW = "timed out during startup"  # in Ray's words
# 107 bytes of a Unix socket, less "/ray/session_<time>_<process>/sockets/plasma_store".
LONGEST_TEMPORARY = 38
UNREACHED = (
    "; is it running? One with a token (~/.ray/auth_token) asks for it: set RAY_AUTH_MODE=token. "
    "RAY_ADDRESS=local uses this machine alone"
)
# Between the tracebacks of a chain, the innermost first, in the text of Ray's errors.
_LINK = "The above exception was the direct cause"
_own = False  # whether the Ray that this process joined last was started for it


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What Ray offers.

    Attributes:
        own: whether it was started for this run, on this machine alone.
        nodes: living machines.
        cpus, gpus: of all of them.
    """

    own: bool = False
    nodes: int
    cpus: int
    gpus: float


@contextmanager
def session() -> Iterator[Cluster]:
    """Ray for the time of the block, or the one that this process has joined already.

    Raises:
        JobError: no Ray answers.
    """
    _silence()
    import ray

    if ray.is_initialized():
        yield _offer(_own)
        return
    try:
        yield connect()
    finally:
        ray.shutdown()


def connect(**own_settings: Any) -> Cluster:
    """Join the Ray that is there (see `joins`), else start one on this machine.

    The own one has no dashboard and a small object store.

    Args:
        own_settings: for `ray.init`, where it starts one; other than the above.

    Raises:
        JobError: no Ray answers.
    """
    _silence()
    import ray

    global _own
    own = _own = not joins()
    if not own:
        _expect_an_answer()
    where = "this machine" if own else os.environ.get("RAY_ADDRESS") or "the one begun here"
    settings: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if own:
        settings |= {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            **temporary_folder(),
            **own_settings,
        }
        _have_a_token()
    try:
        with _hushed():
            (_start if own else ray.init)(**settings)
    except Exception as error:  # Ray raises bare Exception, ConnectionError and RuntimeError here
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        hint = "" if own else UNREACHED
        raise JobError(f"Ray on {where}: {reason}{hint}", exit_code=1) from error
    return _offer(own)


def _start(**settings: Any) -> None:
    """An own Ray, begun anew where a busy machine took longer than Ray waits for it."""
    import ray

    for _ in range(STARTS):
        try:
            ray.init(**settings)
            return
        except Exception as error:  # a bare one
            if _TOO_SLOW not in str(error):
                raise
    raise TimeoutError(f"it did not start in {STARTS} tries of 30 s; is the machine busy?")


def _have_a_token() -> None:
    """A token for an own Ray alone, where the user has none: Ray would make one and keep it in the
    user's home, after which every `ray start` there asks for it."""
    told = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if not told and not (Path.home() / ".ray" / "auth_token").exists():
        os.environ["RAY_AUTH_TOKEN"] = uuid.uuid4().hex


def temporary_folder() -> dict[str, str]:
    """Where an own Ray keeps its sockets, as a setting of `ray.init`; none where its own will do.

    The path of a socket is short, and Ray's are ASCII: a folder of the user's for temporary files
    may be neither.
    """
    chosen = _temporary()
    if chosen.isascii() and len(chosen) <= LONGEST_TEMPORARY:
        return {}
    return {"_temp_dir": "/tmp/ray"} if os.access("/tmp", os.W_OK) else {}


def _temporary() -> str:
    return os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()


def _expect_an_answer() -> None:
    """Refuse an address of RAY_ADDRESS where nobody listens."""
    named = _named()
    host, _, port = named.rpartition("://")[2].rpartition(":")
    if not (host and port.isdecimal()):
        return  # "auto", or a kind of address that Ray knows and we do not
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS).close()
            return
        except (OSError, OverflowError) as error:
            if time.monotonic() > deadline:
                reason = getattr(error, "strerror", None) or error
                message = f"Ray on {named}: nobody answers there ({reason}){UNREACHED}"
                raise JobError(message, exit_code=1) from error
        time.sleep(0.2)


def _named() -> str:
    """The address of RAY_ADDRESS; empty where none is named."""
    return os.environ.get("RAY_ADDRESS", "").strip()


def _silence() -> None:
    """Ray reads these when it is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if _named() not in ("", "local"):  # each try takes a minute where something else listens
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")


def _offer(own: bool) -> Cluster:
    import ray

    resources = ray.cluster_resources()
    return Cluster(
        own=own,
        nodes=sum(node["Alive"] for node in ray.nodes()),
        cpus=int(resources.get("CPU", 0)),
        gpus=resources.get("GPU", 0.0),
    )


@contextmanager
def _hushed() -> Iterator[None]:
    """Nothing on stderr, not from C++ either, which announces the log level it was given."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def joins() -> bool:
    """Whether there is a Ray to join: RAY_ADDRESS (which `ray job submit` sets) names one, or
    `ray start` left its address on this machine and somebody still answers there."""
    if named := _named():
        return named != "local"
    note = Path(_temporary(), "ray/ray_current_cluster")
    try:
        host, _, port = note.read_text().strip().rpartition(":")
        with socket.create_connection((host, int(port)), timeout=2):
            return True
    except (OSError, ValueError):
        return False


@contextmanager
def failures_told(what: str) -> Iterator[None]:
    """Whatever stops the block on the cluster becomes one line, exit code 1."""
    try:
        yield
    except JobError:
        raise
    except Exception as error:  # Ray's own kinds and, inside them, the job's
        raise JobError(f"{what} stopped: {cause(error)}", exit_code=1) from error


def cause(error: BaseException) -> str:
    """The innermost error's own line, without Ray's layers around it."""
    failures = getattr(error, "worker_failures", None)
    if failures:
        error = next(iter(failures.values()))
    text = str(error)
    if _LINK not in text:
        while isinstance(inner := getattr(error, "cause", None) or error.__cause__, BaseException):
            error = inner
        text = str(error)
    lines = [line for line in text.split(_LINK)[0].splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def failed_worker(error: BaseException) -> int | None:
    """The rank of the training worker whose error `cause` tells; None where it is no worker's."""
    return next(iter(getattr(error, "worker_failures", None) or {}), None)


def quiet_ray_data() -> None:
    """No progress bars, no execution plans on the terminal: the jobs say what matters."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.data._internal"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
