"""Where the real faults are played: a model, an undisturbed release, a server, a way to run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from manifests.storage import open_store
from tests.e2e import running
from tests.faults.proxy import FaultyProxy
from tests.servers import S3Server

N, STEPS, SHARD_SIZE = 48, 40, 4


@dataclass(kw_only=True)
class Stage:
    """One for all faults of a run of the runner.

    Attributes:
        folder: everything is below it.
        model: a tiny model folder.
        reference: every file of the undisturbed release, by key.
        words: the arguments of `generate`, without --out and --actors.
    """

    folder: Path
    model: Path
    reference: dict[str, bytes]
    words: list[object]
    _server: S3Server | None = field(default=None, repr=False)

    @classmethod
    def set(cls, folder: Path, *, n: int = N, steps: int = STEPS, shard: int = SHARD_SIZE) -> Stage:
        """Make the model and the undisturbed release."""
        model = running.tiny_model(folder / "model")
        words: list[object] = ["--n", n, "--model", model, "--steps", steps, "--shard-size", shard]
        stage = cls(folder=folder, model=model, reference={}, words=words)
        out = folder / "undisturbed"
        done = subprocess.run(
            [sys.executable, running.script("generate"), *map(str, words), "--out", out],
            env=running.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        stage.reference = running.files(out)
        return stage

    def place(self) -> Path:
        """A new folder for a release."""
        return Path(tempfile.mkdtemp(dir=self.folder)) / "release"

    @property
    def server(self) -> S3Server:
        """A real S3 server, started once."""
        if self._server is None:
            self._server = S3Server.start(self.folder / "s3")
        return self._server

    @contextmanager
    def proxied(self, *, seed: int = 0, rate: float = 0.0) -> Iterator[FaultyProxy]:
        """The server behind a proxy that breaks requests."""
        proxy = FaultyProxy(self.server.endpoint, seed=seed, rate=rate)
        try:
            yield proxy
        finally:
            proxy.stop()

    def through(self, proxy: FaultyProxy) -> dict[str, str]:
        """The environment of a client of the proxy."""
        return {**self.server.environment(), "AWS_ENDPOINT_URL": proxy.url}

    def objects(self, uri: str) -> dict[str, bytes]:
        """Every object below an s3:// URI, read from the server itself."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        client = self.server.client()
        found: dict[str, bytes] = {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", ()):
                body = client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
                found[item["Key"].removeprefix(f"{prefix}/")] = body
        return found

    def check_same(self, found: dict[str, bytes]) -> None:
        """Byte for byte the undisturbed release."""
        names = found.keys() | self.reference.keys()
        unlike = sorted(name for name in names if found.get(name) != self.reference.get(name))
        assert not unlike, f"{len(unlike)} files are not as undisturbed: {unlike[:5]}"

    def parts(self, out: Path | str) -> int:
        """Parts committed so far."""
        if isinstance(out, Path):
            return len(running.parts(out))
        bucket, _, prefix = out.removeprefix("s3://").partition("/")
        try:
            page = self.server.client().list_objects_v2(
                Bucket=bucket, Prefix=f"{prefix}/manifest/part-"
            )
        except Exception:  # the server is away
            return 0
        return int(page["KeyCount"])

    def strike_down(self) -> None:
        """Stop the server; remove everything."""
        if self._server is not None:
            self._server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def pending(out: Path, n: int = N, shard_size: int = SHARD_SIZE) -> list[int]:
    """The shards of a local release that are still to be made."""
    from manifests.ledger import Ledger, ShardPlan

    return Ledger(open_store(out)).pending(ShardPlan(n, shard_size))
