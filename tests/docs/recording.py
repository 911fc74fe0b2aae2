"""Records real commands in a pseudo-terminal and draws the recording as an animated SVG.

`python -m tests.docs.recording` runs COMMANDS in a fresh folder and writes docs/run.cast, what they
wrote and when (asciicast v2, https://docs.asciinema.org/manual/asciicast/v2), and docs/run.svg.
`--draw` only draws the SVG again. A command that took more than ten seconds is played faster, which
the README tells; how long it took stands in what it says.
"""

from __future__ import annotations

import argparse
import fcntl
import html
import json
import os
import pty
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyte

from tests import ROOT
from tests.docs.notebooks import environment

CAST, PICTURE = ROOT / "docs" / "run.cast", ROOT / "docs" / "run.svg"
COMMANDS = (
    "brainpress generate --n 16 --out demo-release",
    'brainpress query demo-release --where "age > 60" --columns index,age,sex,ventricular_volume',
    "brainpress verify demo-release",
    'brainpress publish demo-release --license CC-BY-SA-3.0 --author "The Example Lab"',
)
COLUMNS, ROWS = 110, 26
LONGEST = 10.0  # s: a command that took longer is played faster
AFTER_A_COMMAND, AT_THE_END = 1.5, 6.0  # s, to read
BETWEEN_FRAMES = 0.15  # s
LETTERS_A_SECOND = 25
PROMPT = "\x1b[32m$\x1b[0m "

# Pixels, and the colours of a dark terminal.
ADVANCE, LINE, MARGIN, FONT = 8.0, 18, 12, 13.3
BACKGROUND, FOREGROUND = "#16191d", "#d6d9dc"
COLOURS = {
    "black": "#5c6370",
    "red": "#e06c75",
    "green": "#98c379",
    "brown": "#e5c07b",
    "blue": "#61afef",
    "magenta": "#c678dd",
    "cyan": "#56b6c2",
    "white": FOREGROUND,
    "brightblack": "#7f848e",
    "brightred": "#e06c75",
    "brightgreen": "#98c379",
    "brightbrown": "#e5c07b",
    "brightblue": "#61afef",
    "brightmagenta": "#c678dd",
    "brightcyan": "#56b6c2",
    "brightwhite": "#ffffff",
}

Event = tuple[float, str]  # seconds since the beginning, what was written then


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What the screen shows from `begin` on, in seconds: its lines, as SVG."""

    begin: float
    lines: tuple[str, ...]


def record(commands: tuple[str, ...], folder: Path) -> list[Event]:
    """Run commands one after the other in a terminal of this size; what it showed, and when."""
    start = time.monotonic()
    events: list[Event] = []
    for command in commands:
        events.append((time.monotonic() - start, f"{PROMPT}{command}\r\n"))
        events += ((at - start, text) for at, text in _run(command, folder))
    events.append((time.monotonic() - start, PROMPT))
    return events


def _run(command: str, folder: Path) -> Iterator[Event]:
    """What a command writes to its terminal, with the times of this machine's clock."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    terminal = {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
    process = subprocess.Popen(
        shlex.split(command),
        cwd=folder,
        env={**environment(), **terminal},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    rest = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the terminal was closed: the command has ended
            break
        if not data:
            break
        text, rest = _decoded(rest + data)
        yield time.monotonic(), text.replace(f"{folder}/", "")
    os.close(ours)
    if process.wait():
        raise SystemExit(f"exit code {process.returncode}: {command}")


def _decoded(data: bytes) -> tuple[str, bytes]:
    """As much of it as is whole in UTF-8, and what is left of a letter."""
    for cut in range(len(data), max(len(data) - 4, -1), -1):
        try:
            return data[:cut].decode(), data[cut:]
        except UnicodeDecodeError:
            continue
    return data.decode(errors="replace"), b""


def write_cast(events: list[Event], path: Path) -> None:
    head = {"version": 2, "width": COLUMNS, "height": ROWS, "title": "brainpress"}
    lines = [json.dumps(head), *(json.dumps([round(at, 3), "o", text]) for at, text in events)]
    path.write_text("\n".join(lines) + "\n")


def read_cast(path: Path) -> list[Event]:
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    return [(at, text) for at, _, text in lines]


def shortened(events: list[Event]) -> list[Event]:
    """Commands typed letter by letter, a pause after each; one that took long is played faster."""
    begun = [number for number, (_, text) in enumerate(events) if text.startswith(PROMPT)]
    shown: list[Event] = []
    now = 0.0
    for first, after in zip(begun, [*begun[1:], len(events)], strict=True):
        start, typed = events[first]
        shown.append((now, PROMPT))
        for letter in typed.removeprefix(PROMPT):
            now += 1 / LETTERS_A_SECOND
            shown.append((now, letter))
        end = events[min(after, len(events) - 1)][0]
        rate = min(1.0, LONGEST / max(end - start, LONGEST))
        shown += ((now + (at - start) * rate, text) for at, text in events[first + 1 : after])
        now += (end - start) * rate + AFTER_A_COMMAND
    return shown


def frames(events: list[Event]) -> list[Frame]:
    """The screens to show: one where it changed, and at most one in BETWEEN_FRAMES seconds."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.Stream(screen)
    found: list[Frame] = []
    for number, (at, text) in enumerate(events):
        stream.feed(text)
        following = events[number + 1][0] if number + 1 < len(events) else at + AT_THE_END
        if found and following - found[-1].begin < BETWEEN_FRAMES:
            continue
        lines = tuple(_line(screen, row) for row in range(ROWS))
        if not found or lines != found[-1].lines:
            found.append(Frame(begin=at, lines=lines))
    return found


def _line(screen: pyte.Screen, row: int) -> str:
    """A row of the screen as tspans, each of letters of one look."""
    spans: list[tuple[str, str]] = []
    for column in range(COLUMNS):
        letter = screen.buffer[row][column]
        look = _look(letter.fg, bold=letter.bold)
        if spans and spans[-1][0] == look:
            spans[-1] = (look, spans[-1][1] + letter.data)
        else:
            spans.append((look, letter.data))
    if spans and not spans[-1][1].strip():
        spans.pop()
    if spans:
        spans[-1] = (spans[-1][0], spans[-1][1].rstrip())
    return "".join(
        f"<tspan{look}>{html.escape(text, quote=False)}</tspan>" if look else html.escape(text)
        for look, text in spans
    )


def _look(colour: str, *, bold: bool) -> str:
    fill = COLOURS.get(colour, FOREGROUND if colour == "default" else f"#{colour}")
    return ("" if fill == FOREGROUND else f' fill="{fill}"') + (' class="b"' if bold else "")


def drawn(shown: list[Frame]) -> str:
    """The frames as an SVG: one below the other, and a window that jumps from each to the next."""
    end = shown[-1].begin + AT_THE_END
    width, height = COLUMNS * ADVANCE + 2 * MARGIN, ROWS * LINE + 2 * MARGIN
    rows = dict.fromkeys(line for frame in shown for line in frame.lines if line)
    names = {line: f"l{number}" for number, line in enumerate(rows)}
    texts = [f'<text id="{name}">{line}</text>' for line, name in names.items()]
    uses = [
        f'<use href="#{names[line]}" y="{number * height + MARGIN + (row + 0.75) * LINE:g}"/>'
        for number, frame in enumerate(shown)
        for row, line in enumerate(frame.lines)
        if line
    ]
    jumps = [
        f"{100 * frame.begin / end:.3f}%{{transform:translateY({-number * height:g}px)}}"
        for number, frame in enumerate(shown)
    ]
    last = f"translateY({-(len(shown) - 1) * height:g}px)"
    style = (
        f"text{{font:{FONT}px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
        f"fill:{FOREGROUND};white-space:pre}}.b{{font-weight:bold}}"
        f"#f{{animation:play {end:.2f}s step-end infinite}}"
        f"@keyframes play{{{''.join(jumps)}100%{{transform:{last}}}}}"
        f"@media(prefers-reduced-motion:reduce){{#f{{animation:none;transform:{last}}}}}"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'width="{width:g}" height="{height:g}" role="img">',
            "<title>A recorded run of brainpress</title>",
            f"<style>{style}</style>",
            f'<rect width="100%" height="100%" rx="6" fill="{BACKGROUND}"/>',
            f"<defs>{''.join(texts)}</defs>",
            f'<g id="f"><g transform="translate({MARGIN})">{"".join(uses)}</g></g>',
            "</svg>\n",
        ]
    )


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draw", action="store_true", help="draw docs/run.cast again")
    given = parser.parse_args(words)
    if not given.draw:
        with tempfile.TemporaryDirectory() as name:
            write_cast(record(COMMANDS, Path(name).resolve()), CAST)
    PICTURE.write_text(drawn(frames(shortened(read_cast(CAST)))))
    print(f"{PICTURE}  {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
