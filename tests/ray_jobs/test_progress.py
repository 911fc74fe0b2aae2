"""The bar on a terminal, and its lines in a log."""

from __future__ import annotations

import io
import re

import pytest

from ray_jobs.progress import Pace, Progress, watched


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


def shown(stream: io.StringIO) -> str:
    """What was written, without colours and moves of the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


def test_the_bar_tells_what_is_done_how_fast_and_how_long_it_takes() -> None:
    clock, stream = Clock(), Terminal()
    bar = Progress(total=100, already=20, thing="volume", stream=stream, clock=clock)
    for done in range(41):
        clock.now = 0.4 * done
        bar.update(done, workers=2)
    assert "60/100  60 %  2.5 volumes/s  15 s left  2 workers" in shown(stream)


def test_a_bar_ends_with_all_that_was_done_whenever_it_was_drawn_last() -> None:
    clock, stream = Clock(), Terminal()
    bar = Progress(total=4, stream=stream, clock=clock)
    bar.update(0, workers=0)
    clock.now = 9.0
    bar.update(4, workers=0)  # the workers are gone
    bar.close()
    last = shown(stream).rstrip().splitlines()[-1]
    assert last.strip().endswith("4/4  100 %  in 9 s")
    assert "starting" in shown(stream)
    assert stream.getvalue().count("\x1b[?25h") == 1, "the cursor is back"


def test_the_time_left_neither_jumps_with_pauses_nor_with_noise() -> None:
    """Two steps a second, a minute's validation after every 250: 4,500 steps take 54 minutes."""
    pace, now, told = Pace(), 0.0, []
    for step in range(1, 4501):
        now += 0.3 if step % 3 else 0.9
        now += 60.0 if step % 250 == 0 else 0.0
        rate = pace.update(now, step)
        if 500 < step < 4400:
            told.append((now + (4500 - step) / rate) / 60)
    assert now / 60 == pytest.approx(55.5, abs=0.1)
    assert min(told) > 45
    assert max(told) < 68


def test_starting_up_is_no_part_of_the_pace() -> None:
    pace = Pace()
    assert pace.update(500.0, 0) == 0
    assert pace.update(600.0, 8) == 0
    assert pace.update(604.0, 16) == pytest.approx(2.0)


def test_away_from_a_terminal_a_line_comes_ever_more_seldom() -> None:
    clock, stream = Clock(), io.StringIO()
    bar = Progress(total=1000, thing="volume", stream=stream, clock=clock)
    for second in range(31):
        clock.now = float(second)
        bar.update(done=10 * second, workers=1)
    bar.close()
    lines = stream.getvalue().splitlines()
    assert [line.split("  ")[1] for line in lines] == [f"{n}/1,000" for n in (50, 100, 150, 230)]
    assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ  50/1,000  5 %  10.0 volumes/s", lines[0])
    assert "".join(lines).isprintable(), "a control code in a log file"


def test_a_log_of_days_gets_a_line_in_five_minutes() -> None:
    clock, stream = Clock(), io.StringIO()
    bar = Progress(total=10**6, stream=stream, clock=clock)
    for second in range(0, 24 * 3600, 5):
        clock.now = float(second)
        bar.update(done=second, workers=1)
    assert 280 < len(stream.getvalue().splitlines()) < 310


def test_a_terminal_that_cannot_draw_over_a_line_gets_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    bar = Progress(total=2, what="measuring", stream=stream)
    bar.begin()
    bar.update(1)
    bar.end(2)
    assert "\x1b" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 2


def test_on_a_terminal_the_bar_never_wraps_and_lines_stand_above_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    clock, stream = Clock(), Terminal()
    bar = Progress(total=100, thing="volume", stream=stream, clock=clock)
    for done in (0, 10, 50):
        clock.now = float(done)
        bar.update(done, workers=2)
    bar.say("shard 3, attempt 2 of 3: worker lost")
    bar.close()
    lines = [part for line in shown(stream).split("\n") for part in line.split("\r")]
    assert max(map(len, lines)) <= 40
    assert "shard 3, attempt 2 of 3: worker lost" in lines
    assert stream.getvalue().endswith("\n\x1b[?25h")


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
    assert [line.split("  ")[2] for line in lines] == [
        f"{n}/200" for n in (0, 30, 55, 80, 120, 180, 200)
    ]
    assert lines[2].endswith(" left")
    assert lines[-1].endswith("200/200  100 %  in 39 s")
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
