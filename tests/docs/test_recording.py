"""The recording in the README: a real terminal's, told truly, small, and of no machine."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.docs.recording import (
    CAST,
    COMMANDS,
    LONGEST,
    PICTURE,
    PROMPT,
    drawn,
    frames,
    read_cast,
    record,
    shortened,
    write_cast,
)

MOST_BYTES = 500_000


def test_the_picture_is_drawn_from_the_recording_and_small() -> None:
    picture = drawn(frames(shortened(read_cast(CAST))))
    assert PICTURE.read_text() == picture, "python -m tests.docs.recording --draw"
    assert len(picture) < MOST_BYTES
    words = "".join(ElementTree.fromstring(picture).itertext())
    for command in COMMANDS:
        assert command in words
    for place in ("/tmp", "/work", "/root", "/home"):
        assert place not in words + CAST.read_text()


def test_a_command_is_recorded_as_it_runs_in_a_terminal(tmp_path: Path) -> None:
    """Its colours, its width, what it rewrites, and no folder of this machine."""
    program = (
        "import os, time; print(os.get_terminal_size().columns); "
        "print('\\x1b[31mred\\x1b[0m <ü>'); print('old', end='\\r', flush=True); "
        f"time.sleep(0.5); print('{tmp_path}/new')"
    )
    (tmp_path / "program.py").write_text(program)
    events = record(("python program.py",), tmp_path)
    write_cast(events, tmp_path / "cast")
    shown = frames(shortened(read_cast(tmp_path / "cast")))
    last = "\n".join(shown[-1].lines)
    assert '110\n<tspan fill="#e06c75">red</tspan> &lt;ü&gt;\nnew\n' in last
    assert any("old" in line for frame in shown for line in frame.lines)


def test_what_took_long_is_played_faster_and_all_of_it_in_order() -> None:
    slow = [(0.0, f"{PROMPT}a\r\n"), *((float(n), f"{n} ") for n in range(1, 200)), (200.0, PROMPT)]
    times = [at for at, _ in shortened(slow)]
    assert times == sorted(times)
    assert LONGEST < times[-1] < LONGEST + 3
    quick = [(0.0, f"{PROMPT}a\r\n"), (2.0, "done"), (2.0, PROMPT)]
    begun, done = (at for at, text in shortened(quick) if text in ("\n", "done"))
    assert done - begun == 2.0
