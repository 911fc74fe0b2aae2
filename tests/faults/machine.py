"""A second Ray node beside a head, which can be lost and come again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.e2e.running import ROOT, RayHead, descendants, environment, gpus_of, kill


class Machine:
    """Its processes are real: what Ray takes for a machine of its own."""

    def __init__(self, head: RayHead, *, cpus: int = 1, gpus: int = 0, kind: str = "") -> None:
        self.head, self.cpus, self.gpus, self.kind = head, cpus, gpus, kind
        self.node = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [
            str(Path(sys.executable).with_name("ray")),
            "start",
            "--block",
            f"--address={self.head.address}",
            f"--num-cpus={self.cpus}",
            f"--num-gpus={self.gpus}",
            *gpus_of(self.kind),
            f"--object-store-memory={100 * 1024**2}",
            "--min-worker-port=0",
            "--max-worker-port=0",
        ]
        with (self.head.folder / "machine.log").open("ab") as log:
            return subprocess.Popen(
                command,
                env=environment({"PYTHONPATH": str(ROOT), **self.head.environment()}),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """As a power cut would: raylet, agents and workers at once, with kill -9."""
        for pid in [*descendants(self.node.pid), self.node.pid]:
            kill(pid)
        self.node.wait()

    def replace(self) -> None:
        self.kill()
        self.node = self._start()
