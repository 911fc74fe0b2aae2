"""Who holds a lease: told to people, and recognised as dead on the same machine."""

from __future__ import annotations

import getpass
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifests.digests import sha256
from manifests.text import is_plain, one_line


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A process that changes a release.

    Attributes:
        user, host, process: as its own system calls them.
        machine: the same for processes that see each other's numbers, and for no others.
    """

    user: str
    host: str
    process: int
    machine: str

    @classmethod
    def here(cls) -> Holder:
        """This process."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError, ImportError):
            user = "somebody"
        host, process = one_line(socket.gethostname())[:100], os.getpid()
        return cls(user=one_line(user)[:100], host=host, process=process, machine=_machine())

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended; of another machine nobody knows."""
        if not self.machine or self.machine != _machine():
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass  # alive, and another user's
        return False

    @property
    def told(self) -> str:
        return f"{self.user}@{self.host} (process {self.process})"

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, document: Any) -> Holder:
        """Raises ValueError where it is none."""
        texts = [document.get(name) for name in ("user", "host", "machine")]
        process = document.get("process")
        if type(process) is not int or process < 1:
            raise ValueError(f"process is {process!a:.60}")
        if not all(isinstance(text, str) and is_plain(text) for text in texts):
            raise ValueError("user, host and machine: expected text")
        user, host, machine = texts
        return cls(user=user, host=host, process=process, machine=machine)


def elapsed() -> float:
    """Seconds of this machine's clock that nobody sets, and that runs on while it sleeps."""
    return time.clock_gettime(_CLOCK) if _CLOCK is not None else time.monotonic()


_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


def _machine() -> str:
    """Empty where a process of the same number might be another's: in containers of one host."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return sha256(f"{boot}{namespace}".encode())[:16]
