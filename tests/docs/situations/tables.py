"""participants.tsv as it comes, and what lies around it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.docs.situations.making import Make, persons, scanned, table, values
from tests.docs.situations.situation import Group, Situation
from tests.ray_jobs.line import people

_COUNT = 6
_AGES = [row["age"] for row in people(_COUNT).values()]
_LITRES = {"ventricular_volume": 1e-6, "brain_volume": 1e-6}


def _text() -> str:
    rows = people(_COUNT)
    lines = [["participant_id", *rows["sub-01"]]]
    lines += [[name, *map(str, row.values())] for name, row in rows.items()]
    return "".join("\t".join(line) + "\n" for line in lines)


def _written(change: Callable[[str], str | bytes]) -> Make:
    return lambda folder: table(change(_text()), _COUNT)(folder)


def _of_all(column: str, change: Callable[[Any], Any]) -> Make:
    """A column changed in every row."""
    return values(_COUNT, **{column: [change(row[column]) for row in people(_COUNT).values()]})


def _scaled(by: Mapping[str, float]) -> Make:
    rows = people(_COUNT).values()
    return values(_COUNT, **{n: [f"{row[n] * f:.6g}" for row in rows] for n, f in by.items()})


def _last(**changes: Any) -> Make:
    return values(_COUNT, **changes)


def _renamed(old: str, new: str) -> Make:
    return _written(lambda text: text.replace(old, new, 1))


def _twice(text: str) -> str:
    """The column age again at the end, with other ages."""
    head, *rows = text.splitlines()
    return "\n".join([f"{head}\tage", *(f"{row}\t50" for row in rows), ""])


def _described(make: Make, **about: Any) -> Make:
    def described(folder: Path) -> None:
        make(folder)
        (folder / "participants.json").write_text(json.dumps(about))

    return described


def _sex(female: object, male: object) -> Make:
    return _of_all("sex", lambda sex: female if sex == "F" else male)


def _with(name: str, text: str | bytes | None) -> Make:
    """One participant, and a file beside; None takes it away."""

    def make(folder: Path) -> None:
        persons(folder)
        scanned(folder, "sub-01")
        if text is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)

    return make


def _as_csv(folder: Path) -> None:
    _with("participants.csv", _text().replace("\t", ","))(folder)
    (folder / "participants.tsv").unlink()


def _one_down(folder: Path) -> None:
    dataset = folder / "dataset"
    dataset.mkdir()
    persons(dataset)
    scanned(dataset, "sub-01")


_DESCRIPTION = "dataset_description.json"

TABLES = Group(
    title="What the table says",
    about=f"participants.tsv of {_COUNT} participants, each with the template's brain.",
    situations=(
        Situation(what="as BIDS has it", make=_written(str)),
        Situation(what="commas instead of tabs", make=_written(lambda t: t.replace("\t", ","))),
        Situation(what="semicolons", make=_written(lambda t: t.replace("\t", ";"))),
        Situation(what="a byte order mark", make=_written(lambda t: t.encode("utf-8-sig"))),
        Situation(
            what="UTF-16, as a spreadsheet saves it", make=_written(lambda t: t.encode("utf-16"))
        ),
        Situation(what="CRLF", make=_written(lambda t: t.replace("\n", "\r\n"))),
        Situation(what="decimal commas", make=_of_all("age", lambda a: str(a).replace(".", ","))),
        Situation(what="an age of -999", make=_last(age=-999)),
        Situation(what="an age of 0", make=_last(age=0)),
        Situation(what="an age of 999", make=_last(age=999)),
        Situation(what="an age of 89+", make=_last(age="89+")),
        Situation(what="one age in months", make=_last(age=round(12 * _AGES[-1]))),
        Situation(what="all ages in months", make=_of_all("age", lambda age: round(12 * age))),
        Situation(
            what="all ages in months, said",
            make=_of_all("age", lambda age: round(12 * age)),
            options=("--units", "age=month"),
        ),
        Situation(
            what="all ages in months, said in participants.json",
            make=_described(_of_all("age", lambda age: round(12 * age)), age={"Units": "months"}),
        ),
        Situation(
            what="volumes in mL",
            make=_scaled({"ventricular_volume": 1e-3, "brain_volume": 1e-3}),
        ),
        Situation(
            what="volumes in mL, said",
            make=_scaled({"ventricular_volume": 1e-3, "brain_volume": 1e-3}),
            options=("--units", "ventricular_volume=mL", "--units", "brain_volume=mL"),
        ),
        Situation(what="volumes in litres", make=_scaled(_LITRES)),
        Situation(what="one brain volume in mL", make=_last(brain_volume=1287.5)),
        Situation(what="one ventricular volume in mL", make=_last(ventricular_volume=23.1)),
        Situation(what="sex as 0 and 1", make=_sex(0, 1)),
        Situation(
            what="sex as 0 and 1, said", make=_sex(0, 1), options=("--levels", "sex=0:F,1:M")
        ),
        Situation(
            what="sex as 0 and 1, Levels in participants.json",
            make=_described(_sex(0, 1), sex={"Levels": {"0": "female", "1": "male"}}),
        ),
        Situation(what="sex as Male and female", make=_sex("female", "Male")),
        Situation(what="one sex of O", make=_last(sex="O")),
        Situation(what="a column gender", make=_renamed("sex", "gender")),
        Situation(
            what="a column gender, said",
            make=_renamed("sex", "gender"),
            options=("--column", "sex=gender"),
        ),
        Situation(what="a column Age", make=_renamed("age", "Age")),
        Situation(what="the column age twice", make=_written(_twice)),
        Situation(what="a missing value, n/a", make=_last(age="n/a")),
        Situation(
            what="a missing value, left out",
            make=_last(age="n/a"),
            options=("--missing", "leave-out"),
        ),
        Situation(what="a column missing", make=_renamed("brain_volume", "cortical_volume")),
        Situation(what="a participant twice", make=_renamed("sub-02", "sub-01")),
        Situation(what="a row with a cell too few", make=_written(lambda t: t.rpartition("\t")[0])),
        Situation(what="the heading only", make=_written(lambda t: t.splitlines()[0] + "\n")),
    ),
)

DATASETS = Group(
    title="What lies around it",
    about="One participant.",
    situations=(
        Situation(
            what="a damaged dataset_description.json",
            make=_with(_DESCRIPTION, '{"Name": "ours", "License": "CC0"'),
        ),
        Situation(
            what="a dataset_description.json in Latin-1",
            make=_with(_DESCRIPTION, '{"Name": "Zürich", "License": "CC0"}'.encode("latin-1")),
        ),
        Situation(what="a licence that is a number", make=_with(_DESCRIPTION, '{"License": 4}')),
        Situation(what="a damaged participants.json", make=_with("participants.json", '{"age": ')),
        Situation(what="no participants.tsv", make=_with("participants.tsv", None)),
        Situation(what="an empty participants.tsv", make=_with("participants.tsv", "")),
        Situation(what="participants.csv", make=_as_csv),
        Situation(what="the dataset one folder down", make=_one_down),
        Situation(what="nothing but a dataset_description.json", make=lambda _: None),
    ),
)
