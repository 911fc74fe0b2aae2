"""Giving a reader many inputs, and keeping what became of each."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, given, settings

from ldm.errors import LdmError
from manifests.errors import ReleaseError
from ray_jobs.errors import JobError
from tests.fuzzing.readers import Reader

OWN_ERRORS = (LdmError, ReleaseError, JobError)


@dataclass
class Tally:
    """What became of a reader's inputs; a refused one ended in one line of ours."""

    reader: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    lines: set[str] = field(default_factory=set)


def run(reader: Reader, count: int) -> Tally:
    """Give `reader` `count` inputs, always the same.

    Raises:
        Exception: the first of a reader's that is not an error of ours; AssertionError where one
            of ours has several lines, or a control character.
    """
    tally = Tally(reader.name)

    def feed(data: object) -> None:
        started = time.perf_counter()
        tally.inputs += 1
        try:
            accepted = reader.read(data)
        except OWN_ERRORS as error:
            line = str(error)
            assert line.isprintable(), f"not one printable line: {line!r}"
            assert len(line) < 2000, f"a line of {len(line):,} characters: {line[:300]}"
            tally.refused += 1
            tally.lines.add(line[:40])
        else:
            tally.accepted += accepted
            tally.refused += not accepted
        took = time.perf_counter() - started
        tally.seconds += took
        tally.slowest = max(tally.slowest, took)

    feeding = settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )(given(reader.inputs)(feed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy and nibabel, about numbers nobody would store
        feeding()
    return tally
