"""The notebooks as they are committed: run from top to bottom, and of no machine."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.docs.notebooks import FOLDER, NAMES, read, without_machine, words

OF_A_MACHINE = ("/tmp", "/work", "/root", "/home", "site-packages")


def test_there_is_one_for_each_newcomer() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_carries_its_outputs(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert [output for output in outputs if "image/png" in output.get("data", {})]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_tells_nothing_of_the_machine_it_ran_on(name: str) -> None:
    text = words(read(name))
    assert not [place for place in OF_A_MACHINE if place in text]


def test_pieces_of_a_stream_are_joined_before_paths_and_progress_go() -> None:
    """A pipe is read a hundred letters at a time: a path, or a line, may come in two."""
    pieces = ["2026-11-30 20:31:33Z  0/16  0 %", "  starting\nto /somewh", "ere/release\n"]
    outputs = [new_output("stream", name="stderr", text=piece) for piece in pieces]
    outputs.insert(1, new_output("stream", name="stdout", text="2 images\n"))
    notebook = new_notebook(cells=[new_code_cell("!", outputs=outputs)])
    cleaned = without_machine(notebook, Path("/somewhere"))
    texts = {output.name: output.text for output in cleaned.cells[0].outputs}
    assert texts == {"stderr": "to release\n", "stdout": "2 images\n"}
