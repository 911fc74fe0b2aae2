"""The bar on a terminal, and its lines in a log."""

from __future__ import annotations

import io
import re

import pytest

from ray_jobs.progress import Progress, watched


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_bar_tells_what_is_done_how_fast_and_how_long_it_takes() -> None:
    clock = Clock()
    bar = Progress(total=100, already=20, stream=io.StringIO(), clock=clock)
    clock.now = 16.0
    bar.update(done=40, workers=2)
    text = bar.text(40, 2, 2.5)
    assert "60/100  60 %  2.5 volumes/s  16 s left  2 workers" in text


def test_away_from_a_terminal_a_line_comes_only_now_and_then() -> None:
    clock, stream = Clock(), io.StringIO()
    bar = Progress(total=1000, stream=stream, clock=clock)
    for second in range(31):
        clock.now = float(second)
        bar.update(done=10 * second, workers=1)
    bar.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert "150/1000" in lines[0]
    assert "10.0 volumes/s" in lines[0]
    assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ  150/1000  15 %", lines[0])
    assert "".join(lines).isprintable(), "a control code in a log file"


def test_a_log_of_days_gets_a_line_a_minute() -> None:
    clock, stream = Clock(), io.StringIO()
    bar = Progress(total=10**6, stream=stream, clock=clock)
    for second in range(0, 3 * 3600, 5):
        clock.now = float(second)
        bar.update(done=second, workers=1)
    assert 180 < len(stream.getvalue().splitlines()) < 205


def test_on_a_terminal_the_bar_never_wraps_and_lines_stand_above_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    clock, stream = Clock(), Terminal()
    bar = Progress(total=100, stream=stream, clock=clock)
    clock.now = 10.0
    bar.update(done=50, workers=2)
    bar.say("shard 3, attempt 2 of 3: worker lost")
    bar.close()
    shown = stream.getvalue().split("\r")
    assert max(len(text.rstrip("\n")) for text in shown) < 40
    assert "shard 3, attempt 2 of 3: worker lost\n" in shown
    assert stream.getvalue().endswith("\n")


def test_a_log_tells_what_is_done_when_it_begins_now_and_then_and_at_its_end() -> None:
    clock, stream = Clock(), io.StringIO()
    bar = Progress(200, what="measuring", stream=stream, clock=clock)
    bar.begin()
    for second in range(40):
        clock.now = float(second)
        bar.update(5 * (second + 1))
    bar.end(200)
    lines = stream.getvalue().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  measuring  ", line) for line in lines)
    assert [line.split("  ")[2] for line in lines] == ["0/200", "80/200", "155/200", "200/200"]
    assert lines[1].endswith(" left")
    assert "worker" not in lines[1]
    assert "volumes/s" not in lines[1]


def test_rows_are_handed_on_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    given = [{"rows": 3}, {"rows": 4}]
    assert list(watched(iter(given), 10, "measuring", already=3, of="rows")) == given
    told = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[1:3] for line in told] == [
        ["measuring", "3/10"],
        ["measuring", "10/10"],
    ]
    assert list(watched(iter(given), 2, "preparing")) == given
