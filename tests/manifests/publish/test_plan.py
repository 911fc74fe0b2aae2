"""Which version a release becomes, and what CHANGES says of it: decided from values alone."""

from __future__ import annotations

from typing import Any

import pytest

from manifests.errors import ReleaseError
from manifests.format.published import Published, Version, changed_since
from manifests.publish.plan import Differences, PublishOptions, change_lines, next_version

DIGEST = "a" * 64


def version(number: str, **changes: Any) -> Version:
    fields: dict[str, Any] = {
        "date": "2026-01-31",
        "changes": ("made",),
        "samples": 10,
        "manifest_sha256": DIGEST,
    }
    return Version(version=number, **{**fields, **changes})


def published(*numbers: str) -> Published:
    return Published(versions=tuple(map(version, numbers)))


SAME = Differences(samples=10, before=10, withdrawn={})
GROWN = Differences(samples=16, before=10, withdrawn={3: "bad"})
WITHDRAWN = Differences(samples=10, before=10, withdrawn={3: "bad"})
AUTHORS = Differences(samples=10, before=10, withdrawn={}, terms=["authors: B, was A"])
RELICENSED = Differences(
    samples=10, before=10, withdrawn={}, terms=["licence: X, was Y"], relicensed=True
)


@pytest.mark.parametrize(
    ("new", "asked", "expected"),
    [
        (SAME, None, None),
        (SAME, "1.9.3", None),
        (SAME, "2.0.0", "2.0.0"),
        (GROWN, None, "1.10.0"),
        (GROWN, "1.10.0", "1.10.0"),
        (WITHDRAWN, None, "1.9.4"),
        (AUTHORS, None, "1.9.4"),
        (RELICENSED, None, "1.10.0"),
    ],
    ids=[
        "nothing new",
        "nothing new, and the last is asked for",
        "nothing new, and a later one is asked for",
        "grown",
        "grown, and the same is asked for",
        "withdrawn from",
        "other authors",
        "another licence",
    ],
)
def test_the_next_version_follows_from_what_is_new(
    new: Differences, asked: str | None, expected: str | None
) -> None:
    assert next_version(published("1.9.3", "1.9.2"), new, asked, uri="r") == expected


def test_the_first_version_is_one_point_nought_unless_told() -> None:
    assert next_version(None, None, None, uri="r") == "1.0.0"
    assert next_version(None, None, "0.3.0", uri="r") == "0.3.0"


@pytest.mark.parametrize(
    ("new", "asked", "line"),
    [
        (GROWN, "1.9.3", r"version 1.9.3 is published, and what is new \(6 samples added"),
        (GROWN, "1.9.2", r"version 1.9.2 is lower than 1.9.3, .* such as 1.10.0"),
        (SAME, "1.0.0", r"lower than 1.9.3"),
    ],
    ids=["the last again", "a lower one", "a lower one for nothing new"],
)
def test_a_version_that_is_taken_or_lower_is_refused(
    new: Differences, asked: str, line: str
) -> None:
    with pytest.raises(ReleaseError, match=line) as caught:
        next_version(published("1.9.3"), new, asked, uri="r")
    assert caught.value.exit_code == 2


def test_changes_say_what_was_added_and_what_was_withdrawn_and_why() -> None:
    assert change_lines(GROWN, "From a second cohort.\n", ok=15, seed=7) == (
        "From a second cohort.",
        "6 samples added (10-15), 16 in all",
        "sample 3 withdrawn: bad",
    )
    assert change_lines(None, None, ok=10, seed=7) == ("10 synthetic volumes, seed 7",)
    assert change_lines(SAME, None, ok=10, seed=7) == ("no change of the data",)
    assert change_lines(SAME, "A typo.", ok=10, seed=7) == ("A typo.",)


def test_of_many_withdrawn_samples_changes_name_the_first_and_count_the_rest() -> None:
    many = Differences(samples=99, before=99, withdrawn={i: f"why {i}" for i in range(50)})
    told = many.told()
    assert told[0] == "sample 0 withdrawn: why 0"
    assert told[-1] == "withdrawn too, the manifest says why: 20-49"
    assert len(told) == 21


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "1.0"},
        {"version": "v1.0.0"},
        {"version": "1.0.0-rc.1"},
        {"version": "01.0.0"},
        {"date": "2026-02-30"},
        {"date": "23.11.2026"},
        {"date": "20261123"},
        {"name": " "},
        {"authors": ("A", "")},
        {"authors": ("A\x1b[31m",)},
        {"url": "example.org"},
        {"url": "javascript:alert(1)"},
        {"url": "https://me:hunter2@example.org/"},
    ],
    ids=lambda changes: str(*changes.values()).strip().encode("ascii", "replace").decode()[:16],
)
def test_options_are_checked_at_birth(changes: dict[str, Any]) -> None:
    with pytest.raises(ReleaseError) as caught:
        PublishOptions(**{"date": "2026-11-23", **changes})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"versions": []},
        {"versions": [{}]},
        {"versions": [version("1.0.0").to_json(), version("1.0.0").to_json()]},
        {"versions": [version("1.0.0").to_json(), version("1.1.0").to_json()]},
        {"versions": [version("1.0.0").to_json() | {"samples": True}]},
        {"versions": [version("1.0.0").to_json() | {"changes": ["\x1b[2J"]}]},
        {"versions": [version("1.0.0").to_json() | {"manifest_sha256": None}]},
        {"versions": [version("1.0.0").to_json() | {"version": 1}]},
        {"versions": [version("1.0.0").to_json()], "url": 3},
    ],
    ids=range(10),
)
def test_what_no_press_wrote_of_versions_is_refused(document: Any) -> None:
    with pytest.raises(ReleaseError):
        Published.from_json(document)


def test_what_was_published_survives_release_json() -> None:
    known = published("1.1.0", "1.0.0")
    assert Published.from_json(known.to_json()) == known
    assert Published.from_json(None) is None


def test_a_release_that_changed_since_it_was_published_says_how() -> None:
    about = {"counts": {"samples": 10}, "files": {"manifest.parquet": DIGEST}}
    assert changed_since(about, published("1.0.0")) is None
    assert changed_since(about, None) is None
    grown = {"counts": {"samples": 12, "withdrawn": 1}, "files": {"manifest.parquet": "b" * 64}}
    told = changed_since(grown, published("1.0.0"))
    assert told == "grown by 2 samples and had 1 sample withdrawn since version 1.0.0 was published"
