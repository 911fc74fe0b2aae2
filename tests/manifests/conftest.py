"""Where the tests of this folder keep their releases: a local folder, and a real S3 server."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty place, once on the disk and once in a new bucket."""
    if request.param == "local":
        return str(tmp_path / "release")
    return f"s3://{request.getfixturevalue('bucket')}/a/release"
