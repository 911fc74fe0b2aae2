"""What whoever watches a fit sees: what is trained and on what, one bar; in a log dated lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

from ldm.training.config import TrainingConfig
from manifests.numbers import counted, human_left, human_rate
from manifests.terminal import draws
from ray_jobs.progress import Progress
from ray_jobs.training.fitting.sentences import figures

# Steps are watched for so long before it is foretold how long all of them take.
LOOK_SECONDS = 5.0


class Screen:
    """Shows a fit.

    Args:
        what: is trained, such as `autoencoder`.
        config: of the training.
        where: the run's folder, as people call it.
        threads: of a worker on CPUs.
        stream: where to show it.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        what: str,
        config: TrainingConfig,
        where: str,
        *,
        threads: int = 1,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.steps = config.steps
        self._what, self._config, self._where, self._threads = what, config, where, threads
        self._stream, self._clock = stream or sys.stderr, clock
        self._live = draws(self._stream)
        self._progress: Progress | None = None
        self._first = self._at = 0
        self._since = clock()
        self._losses: dict[str, float] = {}
        self._held_out: tuple[int, dict[str, float]] | None = None
        self._foretold = False

    def begun(self, step: int, told: dict[str, Any]) -> None:
        """Workers begin after `step`; what they tell of themselves is shown once.

        Args:
            told: device, world (how many workers), parameters and samples.
        """
        again = self._progress is not None
        self._leave()
        self._first = self._at = step
        self._since = self._clock()
        self._progress = Progress(
            self.steps,
            step,
            what="" if self._live else "step",
            thing="step",
            stream=self._stream,
            clock=self._clock,
        )
        if not again and "parameters" in told:
            for line in self._head(told):
                self._progress.say(line)
        if self._live:
            self._show()

    def step(self, number: int, losses: dict[str, float]) -> None:
        """A step ended with these losses."""
        self._at, self._losses = number, losses
        self._show()
        if not self._foretold and self._clock() - self._since >= LOOK_SECONDS:
            self._foretell()

    def validated(self, number: int, found: dict[str, float]) -> None:
        """After a step, this was found of people that are held out."""
        self._at, self._held_out = number, (number, found)
        self._show()

    def say(self, line: str) -> None:
        """A line of its own."""
        if self._progress is None:
            print(line, file=self._stream, flush=True)
        else:
            self._progress.say(line)

    def close(self) -> None:
        """The fit is over, or stopped; a log gets its last figures."""
        if self._progress is not None and not self._live and self._told():
            self._progress.say(f"step {self._at}/{self.steps}: {self._told()}")
        self._leave()

    def _leave(self) -> None:
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    def _show(self) -> None:
        assert self._progress is not None
        self._progress.update(self._at - self._first, told=self._told())

    def _told(self) -> str:
        """The losses, and those of held-out people; on a terminal the first of each."""
        most = 1 if self._live else None
        parts = [figures(self._losses, most)] if self._losses else []
        if self._held_out is not None:
            number, found = self._held_out
            when = "" if self._live else f" at {number}:"
            parts.append(f"held out{when} {figures(found, most)}")
        return "  ".join(parts)

    def _head(self, told: dict[str, Any]) -> Iterator[str]:
        """What is trained, on what, and how much of it."""
        config, world, on_cpu = self._config, told["world"], told["device"] == "CPU"
        each = " each" if world > 1 else ""
        device = f"CPU, {counted(self._threads, 'thread')}{each}" if on_cpu else told["device"]
        yield (
            f"training: {self._what}, {_weights(told['parameters'])}, "
            f"{config.precision}, {counted(world, 'worker')} on {device}"
        )
        often = config.steps * config.batch_size / max(1, told["samples"])
        passes = f"{often:,.0f}" if often >= 100 else f"{often:.3g}"
        yield (
            f"{config.steps:,} steps of {config.batch_size}, {passes} passes over "
            f"{counted(told['samples'], 'sample')}; held-out people, a checkpoint and a preview "
            f"every {config.save_every:,} steps: {self._where}/previews"
        )

    def _foretell(self) -> None:
        """How long all steps take, once some were seen."""
        assert self._progress is not None
        rate, left = self._progress.rate, self.steps - self._at
        if rate <= 0 or not left:
            return
        self._foretold = True
        end = datetime.now(UTC) + timedelta(seconds=left / rate)
        self._progress.say(
            f"{human_rate(rate, 'step')}: some {human_left(left / rate)} left, until about "
            f"{end:%H:%M} UTC, looks at held-out people not counted"
        )


def _weights(count: int) -> str:
    return f"{count:,} parameters" if count < 1e6 else f"{count / 1e6:,.1f} million parameters"
