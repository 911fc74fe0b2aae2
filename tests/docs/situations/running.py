"""Runs the real `prepare` on a situation, in this process, and keeps what it said."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ldm.anatomy import registration
from ldm.errors import LdmError
from ray_jobs import cli
from ray_jobs.preparation.attempts import Attempts
from tests.docs.situations.situation import Situation

# Lines that every run has, or that the heading of the page says.
_COMMON = re.compile(
    r"look at them: |\d+ subjects: \d+ prepared now|out: \d+ subjects to train on|  (?:look|next) "
    r"|brainpress prepare: none of the 1 subjects can be used"
)
DESCRIPTION = {"Name": "A cohort", "BIDSVersion": "1.9.0", "License": "CC0"}
_REGISTER = registration.register


@dataclass(frozen=True, kw_only=True)
class Said:
    """The exit code of `prepare`, and its lines but for those that every run has."""

    code: int
    lines: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """In the words of the page."""
        if self.code:
            return "refused"
        if refused := sum(line.startswith("unusable: ") for line in self.lines):
            return f"{refused} refused, the others used"
        return "used and told" if self.lines else "used"


def said_of(situation: Situation) -> Said:
    """What `brainpress prepare` says of a situation, paths shortened to `bids` and `out`."""
    with tempfile.TemporaryDirectory() as scratch, _in_this_process():
        folder, out = Path(scratch, "bids"), Path(scratch, "out")
        folder.mkdir()
        (folder / "dataset_description.json").write_text(json.dumps(DESCRIPTION))
        situation.make(folder)
        words = ["prepare", str(folder), "--out", str(out), "--ranges", "schema"]
        if "--preset" not in situation.options:
            words += ["--preset", "tiny"]
        if "--validation" not in situation.options:
            words += ["--validation", "0"]
        heard = io.StringIO()
        with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
            code = cli.main([*words, *situation.options])
        told = heard.getvalue().replace(f"{scratch}/", "")
    lines = tuple(line for line in told.splitlines() if not _COMMON.match(line))
    return Said(code=code, lines=lines)


@contextlib.contextmanager
def _in_this_process() -> Iterator[None]:
    """Subjects are prepared here rather than by Ray Data, and equal scans registered once."""
    kept = Attempts.kept

    def kept_or_made(attempts: Attempts, volumes: Path, grid: Any) -> Any:
        return kept(attempts, volumes, grid) or attempts.prepare(volumes, grid)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Attempts, "kept", kept_or_made)
        patch.setattr(registration, "register", _registered_once)
        yield


_known: dict[str, registration.Registration | LdmError] = {}


def _registered_once(data: np.ndarray, affine: np.ndarray) -> registration.Registration:
    """`register`, a function of these two alone, whose answers are kept."""
    key = hashlib.sha256(np.ascontiguousarray(data).tobytes() + affine.tobytes()).hexdigest()
    if key not in _known:
        try:
            _known[key] = _REGISTER(data, affine)
        except LdmError as error:
            _known[key] = error
    found = _known[key]
    if isinstance(found, LdmError):
        raise found
    return found
