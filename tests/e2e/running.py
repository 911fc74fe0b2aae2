"""What the end-to-end tests share: a small model, processes to start and to kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest

from tests import ROOT
from tests.ports import free_ports

PATIENCE_SECONDS = 300  # of a busy machine; an idle one needs a tenth of it


def tiny_model(folder: Path, **changes: object) -> Path:
    """A real model folder with random weights: 16 x 24 x 16 voxels, milliseconds a step."""
    import torch

    from ldm.covariates import PAPER_SCHEMA
    from ldm.covariates.distribution import CohortDistribution
    from ldm.models.description import ModelDescription
    from ldm.models.latent_diffusion import save
    from ldm.networks import Autoencoder, Denoiser
    from ldm.training.presets import tiny

    rng = np.random.default_rng(0)
    age = rng.uniform(45, 80, 200)
    cohort = {
        "sex": rng.choice(["F", "M"], 200),
        "age": age,
        "ventricular_volume": 10_000 + 800 * (age - 45) + rng.normal(0, 2_000, 200),
        "brain_volume": 1_600_000 - 3_000 * age + rng.normal(0, 40_000, 200),
    }
    preset = tiny()
    torch.manual_seed(0)
    autoencoder, denoiser = Autoencoder(preset.autoencoder), Denoiser(preset.denoiser)
    about = {
        "name": "tiny",
        "card": {"name": "tiny", "description": "random weights", "license": "CC0-1.0"},
        "schema": PAPER_SCHEMA,
        "distribution": CohortDistribution.fit(PAPER_SCHEMA, cohort),
        "grid": preset.grid,
        "autoencoder": preset.autoencoder.to_json(),
        "denoiser": preset.denoiser.to_json(),
        "schedule": preset.schedule.to_json(),
        "latent_mean": (0.0, 0.0),
        "latent_std": (1.0, 1.0),
    }
    description = ModelDescription(**{**about, **changes})  # type: ignore[arg-type]
    save(folder, description, autoencoder, denoiser)
    return folder


# Without one Ray makes a token and keeps it in the user's home, for every later `ray start`.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, without its AWS settings, and for a Ray of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, **TOKEN, "RAY_ADDRESS": "local", **(extra or {})}


def generate(
    *words: object, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `generate` to its end."""
    return job("generate", *words, extra=extra)


def job(
    verb: str, *words: object, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the script of a verb to its end."""
    return subprocess.run(
        [sys.executable, script(verb), *map(str, words)],
        env=environment(extra),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def script(verb: str) -> str:
    """The script of a verb in this checkout."""
    return str(ROOT / "ray_jobs" / f"{verb.replace('-', '_')}.py")


@contextmanager
def started(
    *words: object, verb: str = "generate", extra: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A verb, running, in a process group of its own; nothing of it is left afterwards."""
    process = subprocess.Popen(
        [sys.executable, script(verb), *map(str, words)],
        env=environment(extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        tree = [process.pid, *descendants(process.pid)]
        for pid in tree:
            kill(pid)
        process.communicate()


def kill(pid: int) -> None:
    """`kill -9`, if it still lives."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """The children of a process, their children, and so on, as /proc knows them now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            parent = _parent(entry)
            if parent is not None:
                children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    frontier = [pid]
    while frontier:
        frontier = [child for parent in frontier for child in children.get(parent, [])]
        found += frontier
    return found


def named(pids: list[int], text: str) -> list[int]:
    """Those processes whose command line holds `text`."""
    found = []
    for pid in pids:
        try:
            if text in Path(f"/proc/{pid}/cmdline").read_text(errors="replace"):
                found.append(pid)
        except OSError:
            continue
    return found


def alive(pids: list[int]) -> list[int]:
    """Those processes that run still; a zombie does not."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(pid)
    return found


def memory_bytes(pids: list[int]) -> int:
    """Memory of a process tree: proportional set sizes, so that shared pages count once."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that must come; fails the test where it does not."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def parts(out: Path) -> list[Path]:
    """The committed parts of a local release."""
    return sorted(out.glob("manifest/part-*.parquet"))


def files(out: Path) -> dict[str, bytes]:
    """Every file of a local release, by its path."""
    found = (path for path in out.rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


def _parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return None


# ------------------------------------------------------------------------------- a Ray to send to


def own_disk_at(folder: Path) -> list[str]:
    """What goes before a command for which a folder is another disk, as on another machine."""
    mount = 'mount -t tmpfs none "$0" && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, str(folder)]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no right to mount here: {tried.stderr.strip()}")
    return command


def gpus_of(kind: str) -> list[str]:
    """What has Ray believe that a machine's GPUs are of a kind."""
    return [f'--resources={{"accelerator_type:{kind}": 1}}'] if kind else []


@dataclass(kw_only=True)
class RayHead:
    """A Ray begun with `ray start --head`, on ports of its own."""

    process: subprocess.Popen[bytes]
    address: str
    dashboard: str
    metrics: str
    folder: Path

    @classmethod
    def start(cls, *, cpus: int, cwd: Path, gpus: int = 0, kind: str = "") -> RayHead:
        """Start one and wait until it takes jobs.

        Args:
            gpus: how many Ray is to believe in.
            kind: of these, by Ray's name.
        """
        folder = Path(tempfile.mkdtemp(prefix="bp-ray-"))  # a socket's path must be short
        names = (
            "port",
            "dashboard-port",
            "dashboard-agent-listen-port",
            "dashboard-agent-grpc-port",
            "metrics-export-port",
            "ray-client-server-port",
            "runtime-env-agent-port",
        )
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        command = [
            str(Path(sys.executable).with_name("ray")),
            "start",
            "--head",
            "--block",
            "--disable-usage-stats",
            "--node-ip-address=127.0.0.1",
            "--dashboard-host=127.0.0.1",
            "--include-dashboard=true",
            f"--num-cpus={cpus}",
            f"--num-gpus={gpus}",
            *gpus_of(kind),
            f"--object-store-memory={100 * 1024**2}",
            f"--temp-dir={folder}",
            "--min-worker-port=0",
            "--max-worker-port=0",
            *(f"--{name}={port}" for name, port in ports.items()),
        ]
        settings = {
            "PYTHONPATH": str(ROOT),
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_DASHBOARD_STARTUP_TIMEOUT_S": str(PATIENCE_SECONDS),  # 60 by itself
        }
        inherited = environment(settings)
        del inherited["RAY_ADDRESS"]
        log = (folder / "head.log").open("wb")
        process = subprocess.Popen(
            command, env=inherited, cwd=cwd, stdout=log, stderr=log, start_new_session=True
        )
        head = cls(
            process=process,
            address=f"127.0.0.1:{ports['port']}",
            dashboard=f"http://127.0.0.1:{ports['dashboard-port']}",
            metrics=f"http://127.0.0.1:{ports['metrics-export-port']}/metrics",
            folder=folder,
        )
        try:
            wait_until(head._answers, f"Ray's dashboard ({folder / 'head.log'})")
            assert head.machines() == 1, (folder / "head.log").read_text()
        except BaseException:
            head.stop()
            raise
        return head

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "head.log").read_text()
        try:
            with urlopen(f"{self.dashboard}/api/version", timeout=2) as answer:
                return bool(answer.status == 200)
        except HTTPError as error:
            return error.code == 401  # it is up, and wants the token that `ray` commands have
        except OSError:
            return False

    def environment(self) -> dict[str, str]:
        """What sends a driver to this cluster."""
        return {"RAY_ADDRESS": self.address}

    @contextmanager
    def second_machine(self, *, cpus: int, hiding: Path | None = None) -> Iterator[None]:
        """A second node, which Ray takes for another machine, for the time of a block.

        Args:
            hiding: a folder in whose place it has an empty disk of its own; needs the right to
                mount.
        """
        command = [
            *(own_disk_at(hiding) if hiding else []),
            str(Path(sys.executable).with_name("ray")),
            "start",
            "--block",
            f"--address={self.address}",
            f"--num-cpus={cpus}",
            f"--object-store-memory={100 * 1024**2}",
            "--min-worker-port=0",
            "--max-worker-port=0",
        ]
        log = (self.folder / "second.log").open("wb")
        node = subprocess.Popen(
            command,
            env=environment({"PYTHONPATH": str(ROOT), **self.environment()}),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_until(lambda: named(descendants(node.pid), "raylet"), "a second raylet")
            wait_until(lambda: self.machines() == 2, "a second machine")
            yield
        finally:
            tree = [node.pid, *descendants(node.pid)]
            node.terminate()  # so that it takes its leave, and is not missed only later
            wait_until(lambda: self.machines() == 1, "the second machine's leave")
            for pid in tree:
                kill(pid)
            node.wait()

    def machines(self) -> int:
        """How many machines the cluster has, asked of it by a process of its own."""
        code = (
            "import ray; ray.init(logging_level='ERROR');"
            "print(sum(node['Alive'] for node in ray.nodes()))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment(self.environment()),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return int(done.stdout.strip() or 0)

    def stop(self) -> None:
        """End its processes, which are our own, by their numbers."""
        tree = [self.process.pid, *descendants(self.process.pid)]
        for pid in tree:
            kill(pid)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
