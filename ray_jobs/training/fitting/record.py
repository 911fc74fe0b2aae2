"""The record of a run in its folder: TensorBoard curves, previews, the log; what is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol, TextIO

from ldm.training.adversarial import CriticWatch
from ray_jobs.training.fitting.monitor import Told
from ray_jobs.training.fitting.screen import Screen
from ray_jobs.training.fitting.sentences import sentence
from ray_jobs.work_folder import WorkFolder

LOG, BOARD, PREVIEWS = "log.jsonl", "tensorboard", "previews"
# Seconds between two lines of the log.
LOG_EVERY = 5.0
CRITIC_LOSS = "critic loss"  # among a step's losses, where there is a critic


class Curves(Protocol):
    """Where curves and previews go."""

    def scalars(self, values: dict[str, float], step: int) -> None: ...

    def preview(self, path: Path, step: int) -> None: ...

    def close(self) -> None: ...


class Record:
    """Takes in what the workers tell, in order.

    Args:
        out: the run's folder.
        screen: shows the run.
        curves: beside TensorBoard's.
    """

    def __init__(self, out: WorkFolder, screen: Screen, curves: tuple[Curves, ...] = ()) -> None:
        self._out, self._screen, self._steps = out, screen, screen.steps
        self._previews = out.path / PREVIEWS
        self._previews.mkdir(exist_ok=True)
        log = out.fetch(LOG)
        self._log = _whole_lines(log)
        self._sent: dict[Path, int] = {}
        self._board: TensorBoard | None = None
        self._curves = curves
        self._since, self._from = 0.0, 0
        self._watch = None if _has_alarm(log) else CriticWatch()

    def take(self, told: Told) -> None:
        """Record it, and show it."""
        if "begun" in told:
            self._begun(told)
        elif "failed" in told:
            self._say({"failed": told["failed"]})
        elif "hung" in told:
            self._say(told)
        elif "validated" in told:
            self._validated(told["validated"], told["found"], told["image"])
        else:
            self._step(told["step"], told["losses"], told["at"])

    def close(self) -> None:
        for curves in self._all():
            curves.close()
        self._screen.close()
        self._log.close()
        self._send()

    def _send(self) -> None:
        """Send what grew since the last time to a run's bucket."""
        if not self._out.in_bucket:
            return
        root = self._out.path
        for path in (root / LOG, *(root / BOARD).rglob("*"), *self._previews.glob("*.png")):
            if path.is_file() and self._sent.get(path) != path.stat().st_size:
                self._sent[path] = path.stat().st_size
                self._out.put(path.relative_to(root).as_posix())

    def _begun(self, told: Told) -> None:
        """Curves go on after its step: what came later of an earlier life is not the run's."""
        step = told["begun"]
        if self._board is not None:
            self._board.close()
        self._board = TensorBoard(self._out.path / BOARD, step)
        self._since, self._from = told["at"], step
        self._screen.begun(step, told)
        if step:
            self._say({"resumed": step, "steps": self._steps})

    def _step(self, step: int, losses: dict[str, float], at: float) -> None:
        for curves in self._all():
            curves.scalars({f"train/{name}": value for name, value in losses.items()}, step)
        if self._watch and CRITIC_LOSS in losses:
            alarm = self._watch.seen(losses[CRITIC_LOSS])
            if alarm:
                self._say({"alarm": alarm, "step": step, "steps": self._steps})
        elapsed = at - self._since
        if elapsed >= LOG_EVERY:
            rate = (step - self._from) / elapsed
            self._since, self._from = at, step
            self._line(step, losses, rate)
        self._screen.step(step, losses)

    def _validated(self, step: int, found: dict[str, float], image: bytes) -> None:
        validation = {k: v for k, v in found.items() if not k.startswith("train_")}
        path = self._previews / f"step-{step:06d}.png"
        path.write_bytes(image)
        for curves in self._all():
            curves.scalars({f"validation/{name}": v for name, v in validation.items()}, step)
            curves.preview(path, step)
        self._line(step, {f"validation {k}": v for k, v in validation.items()}, None)
        self._screen.validated(step, validation)
        self._send()

    def _all(self) -> list[Curves]:
        return [*([self._board] if self._board else []), *self._curves]

    def _line(self, step: int, values: dict[str, float], rate: float | None) -> None:
        self._write({"step": step, "steps": self._steps, "values": values, "rate": rate})

    def _write(self, line: dict[str, Any]) -> None:
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()

    def _say(self, line: dict[str, Any]) -> None:
        self._write(line)
        self._screen.say(sentence(line))


class TensorBoard:
    """A run's curves for TensorBoard, from `start` on."""

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=start + 1)

    def scalars(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def preview(self, path: Path, step: int) -> None:
        """The file is beside; curves are readable from here on."""
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _whole_lines(path: Path) -> TextIO:
    """The log, to be added to; a line that a killed driver left unfinished is ended."""
    torn = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    log = path.open("a")
    if torn:
        log.write("\n")
    return log


def _has_alarm(log: Path) -> bool:
    """Whether an earlier start of this run told already that the critic wins."""
    return log.exists() and any('"alarm"' in line for line in log.read_text().splitlines())
