"""Executes the notebooks of docs/notebooks in a fresh folder and writes them with their outputs.

`python -m tests.docs.notebooks [NAME ...] [--release FOLDER]` rewrites those named, or all. Two of
them begin with a release: sixteen volumes of the demo model, printed here unless one is given.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests import ROOT

FOLDER = ROOT / "docs" / "notebooks"
NAMES = ("student", "engineer", "steward")
RELEASE = "demo-release"
OF_A_RELEASE = ("engineer", "steward")
CELL_SECONDS = 1500  # of a busy machine; an idle one needs a tenth of it
# The dated lines in which a job tells how far it is: they say how busy the machine was.
PROGRESS = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  .*\n?", re.MULTILINE)
PICTURES = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\n]+")


def read(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def environment() -> dict[str, str]:
    """This process's, with this checkout's `brainpress` and a Ray of its own for every job."""
    bin_folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([bin_folder, os.environ.get("PATH", "")]),
        "PYTHONPATH": str(ROOT),
        "RAY_ADDRESS": "local",
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm would like ipywidgets
    }


def printed(folder: Path, *words: str) -> Path:
    """The release that a newcomer is sent: what `make demo` prints, with other options too."""
    command = ["generate", "--n", "16", *words, "--out", RELEASE]
    subprocess.run(
        [sys.executable, "-m", "ray_jobs.cli", *command], cwd=folder, env=environment(), check=True
    )
    return folder / RELEASE


def executed(name: str, folder: Path) -> NotebookNode:
    """A notebook, run cell by cell in a folder; the first cell that fails is an error."""
    notebook = read(name)
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    client.execute(env=environment())
    return without_machine(notebook, folder)


def without_machine(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """The notebook without what only tells where, and how busily, it was run."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if cell.cell_type == "code":
            kept = [_plain(output, folder) for output in _joined(cell.outputs)]
            cell.outputs = [output for output in kept if output.get("text") != ""]
    return notebook


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs of a cell, all pieces of a stream in one; they come as the pipe was read."""
    streams: dict[str, NotebookNode] = {}
    found = []
    for output in outputs:
        name = output.get("name", "")
        if output.output_type == "stream" and name in streams:
            streams[name].text += output.text
            continue
        if output.output_type == "stream":
            streams[name] = output
        found.append(output)
    return found


def _plain(output: NotebookNode, folder: Path) -> NotebookNode:
    if "text" in output:
        output.text = PROGRESS.sub("", _shortened(output.text, folder))
    for kind, data in output.get("data", {}).items():
        if kind.startswith("text/"):
            output.data[kind] = _shortened(data, folder)
    return output


def _shortened(text: str, folder: Path) -> str:
    return text.replace(f"{folder}/", "").replace(str(folder), ".")


def words(notebook: NotebookNode) -> str:
    """All text of a notebook, sources and outputs, without the data of pictures."""
    found = []
    for cell in notebook.cells:
        found.append(cell.source)
        for output in cell.get("outputs", []):
            found.append(output.get("text", ""))
            data = output.get("data", {})
            found += [text for kind, text in data.items() if kind.startswith("text/")]
    return PICTURES.sub("", "\n".join(found))


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--release", type=Path, help="a release as `make demo` prints it")
    given = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as name:
        printing = Path(name).resolve() / "printing"
        printing.mkdir()
        release = given.release
        for notebook in given.names:
            folder = Path(name).resolve() / notebook
            folder.mkdir()
            if notebook in OF_A_RELEASE:
                release = release or printed(printing)
                shutil.copytree(release, folder / RELEASE)
            nbformat.write(executed(notebook, folder), FOLDER / f"{notebook}.ipynb")
            print(FOLDER / f"{notebook}.ipynb")


if __name__ == "__main__":
    main(sys.argv[1:])
