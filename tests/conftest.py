"""Fixtures that tests of every package share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from hypothesis import HealthCheck, settings

from tests.servers import S3Server

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("brainpress", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("brainpress")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the tests goes into the user's cache, or comes from it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINPRESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_token_at_home() -> Iterator[None]:
    """Ray keeps a token in the user's home, after which every `ray start` there asks for one."""
    token = Path.home() / ".ray" / "auth_token"
    before = token.read_bytes() if token.exists() else None
    yield
    assert (token.read_bytes() if token.exists() else None) == before


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server, started when the first test of this worker asks for it."""
    server = S3Server.start(tmp_path_factory.mktemp("s3"))
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with this process's environment pointing at it for the time of one test."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it would keep an earlier test's keys
    return s3_server


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """A new, empty bucket of the server, ready to be used as s3://{bucket}/..."""
    return s3.make_bucket()
