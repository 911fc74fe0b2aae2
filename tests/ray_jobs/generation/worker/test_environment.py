"""What a worker's process is given."""

from __future__ import annotations

import json
import pickle

from ray_jobs.credentials import Secrets


def test_secrets_travel_but_are_never_shown() -> None:
    secrets = Secrets({"AWS_SECRET_ACCESS_KEY": "hush"})
    assert "hush" not in f"{secrets} {secrets!r}"
    assert json.dumps(pickle.loads(pickle.dumps(secrets))) == '{"AWS_SECRET_ACCESS_KEY": "hush"}'
