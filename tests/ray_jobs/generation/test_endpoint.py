"""`generate --endpoint-url`: the driver and its workers write to the server that was told."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.errors import ReleaseError
from manifests.query.release import Release
from ray_jobs.generation.finish import finish
from ray_jobs.generation.options import Device, Options
from ray_jobs.generation.start import assignment, begin, check, fields_of
from ray_jobs.generation.worker.environment import ONE_THREAD, Native
from ray_jobs.generation.worker.worker import Worker
from tests.ldm.tiny_model import working_model
from tests.servers import S3Server


def test_a_release_is_made_at_the_endpoint_that_was_told(
    s3: S3Server,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for name in ONE_THREAD:
        monkeypatch.setenv(name, "1")
    working_model(tmp_path / "tiny")
    out = f"s3://{bucket}/r"
    options = Options(
        n=2,
        out=out,
        endpoint_url=s3.endpoint,
        model=str(tmp_path / "tiny"),
        steps=2,
        shard_size=2,
        batch_size=2,
        quality="off",
    )
    request = check(options)
    fields = fields_of(request, device=Device.CPU, native=Native(precision="fp32"))
    work = begin(request, fields)
    worker = Worker(assignment(request, work), {})
    assert worker.load() is None
    worker.print_shard(0)
    finish(request, work, made=2, seconds=1)
    release = Release.open(out, endpoint_url=s3.endpoint)
    assert release.about["counts"]["samples"] == 2
    assert f"brainpress query {out} --endpoint-url {s3.endpoint} --where" in capsys.readouterr().out


def test_what_is_only_read_is_no_place_for_a_release(tmp_path: Path) -> None:
    working_model(tmp_path / "tiny")
    with pytest.raises(ReleaseError, match="such an address is only read"):
        check(Options(n=2, out="https://h.org/r", model=str(tmp_path / "tiny")))
