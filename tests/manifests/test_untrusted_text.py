"""Text of strangers on a terminal and on a page: shown as it is, and obeyed by neither."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from manifests.digests import sha256
from manifests.format.layout import MANIFEST_KEY, RELEASE_KEY
from manifests.format.parquet import parquet_bytes
from manifests.format.schema import Column, rows_table
from manifests.metadata.staging import write_release
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.text import json_text, markdown, one_line, printable, without_credentials
from ray_jobs.cli import main
from tests.manifests.releases import SCHEMA, document, make_release, row

ESCAPES = "a\x1b[2Jb\x07c\x9b31md\x7fe\u202ef\u2028g"
PAGE = "<script>alert(1)</script> [x](javascript:a) ![y](http://z) | `c` **b** # h &lt; $m$"
SPACES = set("\n\t")


def is_harmless(text: str) -> bool:
    return all(character.isprintable() or character in SPACES for character in text)


@pytest.fixture
def evil(tmp_path: Path) -> str:
    """A release whose every free text does something; those that must be one line are plain."""
    store = make_release(tmp_path / "release", 2)
    about: dict[str, Any] = json.loads(store.get(RELEASE_KEY))
    about["model"] |= {"description": ESCAPES, "attribution": f"{PAGE}\n{ESCAPES}", "x": ESCAPES}
    about["sampler"] = {"name": ESCAPES, ESCAPES: ESCAPES}
    table = Release.open(store.uri).query()
    texts = pa.array([ESCAPES, PAGE])
    table = table.set_column(1, table.schema.field(1), texts)  # participant_id
    table = table.set_column(5, table.schema.field(5), texts)  # sex
    data = parquet_bytes(table)
    about["files"][MANIFEST_KEY] = sha256(data)
    store.put(MANIFEST_KEY, data)
    store.put(RELEASE_KEY, json.dumps(about).encode())
    return store.uri


@pytest.mark.parametrize(
    "words",
    [
        ["info"],
        ["info", "--json"],
        ["query"],
        ["query", "--format", "json"],
        ["query", "--where", f"sex = '{ESCAPES}'"],
        ["query", "--columns", ESCAPES],
        ["verify"],
        ["verify", "--json"],
        ["status"],
        ["status", "--json"],
    ],
    ids=" ".join,
)
def test_no_verb_sends_control_characters_to_a_terminal(
    evil: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([words[0], evil, *words[1:]])
    out, err = capsys.readouterr()
    assert out + err
    assert is_harmless(out)
    assert is_harmless(err)


def test_csv_is_harmless_on_a_terminal_and_as_it_is_in_a_pipe(
    evil: str, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["query", evil, "--columns", "participant_id", "--format", "csv"]
    assert main(words) == 0
    assert ESCAPES.encode() in capsysbinary.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(words) == 0
    assert is_harmless(capsysbinary.readouterr().out.decode())


def test_json_stays_the_same_document(evil: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", evil, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["description"] == ESCAPES
    assert json.loads(json_text(json.dumps([ESCAPES], ensure_ascii=False))) == [ESCAPES]


def test_pages_of_a_release_show_text_and_obey_none(tmp_path: Path) -> None:
    columns = (
        Column(name="sex", kind="categorical", levels=("F", "| M |"), description=PAGE, unit="|"),
        *document().columns[1:],
    )
    text = f"{PAGE}\n{PAGE}\x1b[2J"
    about = document(
        name=text,
        license=text,
        authors=(text,),
        columns=columns,
        model={
            **dict.fromkeys(("name", "description", "attribution", "limits"), text),
            "training": {"cohort": dict.fromkeys(("dataset", "attribution"), text)},
        },
        sampler={"name": text},
    )
    store = open_store(tmp_path)
    rows = [row(0, b"x")]
    write_release(store, rows_table(rows, about.schema), about)
    page = store.get("README.md").decode()
    assert is_harmless(page)
    bare = re.sub(r"\\.", "", page)  # what is escaped does nothing
    own = re.sub(r"^(    .*|- `.*|- n<1K)$", "", bare, flags=re.MULTILINE)  # of ours
    assert "<" not in own
    assert "](" not in own
    assert "[" not in own
    headings = [line for line in bare.splitlines() if line.startswith("#")]
    assert len(headings) == 10
    table = [line for line in bare.splitlines() if line.startswith("|")]
    # What the columns mean, then how the numbers among them are spread: heading, rule, rows.
    meanings, numbers = 2 + len(columns), 2 + len(columns) - 1
    assert [line.count("|") for line in table] == [5] * meanings + [7] * numbers
    citation = yaml.safe_load(store.get("CITATION.cff"))
    assert citation["title"] == one_line(text)
    assert [author["name"] for author in citation["authors"]] == [one_line(text)]
    assert is_harmless(store.get("LICENSE").decode())
    lines = store.get("participants.tsv").decode().splitlines()
    assert {line.count("\t") for line in lines} == {len(columns) + 1}


def test_a_level_cannot_leave_its_cell_of_a_table() -> None:
    from manifests.errors import ReleaseError

    for level in ("F\tM", "F\nM", "\x1b"):
        with pytest.raises(ReleaseError, match="control characters"):
            Column(name="sex", kind="categorical", levels=("F", level))


def test_what_is_shown_of_text() -> None:
    assert printable("a\x1b[0m\n\tb\u202e") == "a\\x1b[0m\n\tb\\u202e"
    assert one_line(" a\n b ") == "a b"
    assert markdown("ventricular_volume in mm3 (T1w), CC-BY-SA-3.0: https://x.org/a") == (
        "ventricular_volume in mm3 (T1w), CC-BY-SA-3.0: https://x.org/a"
    )
    assert markdown("- a_b_ *c*") == "\\- a_b\\_ \\*c\\*"
    assert SCHEMA.names[0] == "index"


@pytest.mark.parametrize("piece", ["x", "a://", "a://b", "@", "\x1b", "_", "a@", "secret="])
def test_long_text_takes_no_more_than_its_length(piece: str) -> None:
    """A pattern that goes back over what it has seen would take minutes."""
    text = piece * (200_000 // len(piece))
    started = time.process_time()
    for act in (without_credentials, printable, one_line, markdown, json_text):
        act(text)
    assert time.process_time() - started < 5


def test_credentials_are_starred_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    for text, shown in {
        "at http://me:pass@word@host:1/x": "at http://***@host:1/x",
        "s3://AKIA:hush@bucket/x": "s3://***@bucket/x",
        "https://b/x?X-Amz-Signature=ab12&a=1": "https://b/x?X-Amz-Signature=***&a=1",
        "X-Amz-Credential=AKIA%2Fus; sig=abc": "X-Amz-Credential=*** sig=***",
        "the key wJalrXUtnFEMI": "the key ***",
        "mail a@b.org, s3://bucket/a@b": "mail a@b.org, s3://bucket/a@b",
    }.items():
        found = without_credentials(text)
        assert found.replace("***;", "***") == shown.replace("***;", "***")
