"""Under which licence a release may be: by its SPDX identifier, and by what its model asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.errors import ReleaseError
from manifests.format.licenses import (
    LICENSE_URLS,
    check_license,
    license_of_model,
    license_url,
    spdx_id,
)
from manifests.ledger import Ledger, ShardPlan
from manifests.ledger.finalise import finalise
from manifests.metadata.terms import license_conflict
from manifests.query.release import Release
from manifests.storage import open_store
from ray_jobs.cli import main
from tests.manifests.releases import begin, document, make_release, write_shard

SHARE_ALIKE = {"name": "tiny", "license": "CC BY-SA 3.0"}


def made_of(folder: Path, model: dict[str, str]) -> list[str]:
    """The words of `publish` for a release of that model."""
    store, plan = open_store(folder), ShardPlan(2, 4)
    begin(store, plan)
    write_shard(store, plan, 0)
    finalise(store, plan, document(model=model))
    assert Ledger(store).pending(plan) == []
    return ["publish", str(folder), "--author", "A. Lab"]


def test_any_identifier_of_spdx_is_taken_in_any_case_and_one_s_own() -> None:
    for text in (*LICENSE_URLS, "MIT", "OGL-UK-3.0", "CC-BY-NC-SA-3.0", "LicenseRef-Lab-1"):
        assert check_license(f" {text.lower() if 'Ref' not in text else text} ") == text
    assert license_url("OGL-UK-3.0") == "https://spdx.org/licenses/OGL-UK-3.0.html"
    assert license_url("LicenseRef-Lab-1") is license_url("not stated") is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("CC-BY-4", "CC-BY-4.0"),
        ("CC-BY-NC-SA", "CC-BY-NC-SA-4.0"),
        ("CC-BY-NC-SA-4.1", "CC-BY-NC-SA-4.0"),
        ("CC-BY-NC-ND", "CC-BY-NC-ND-4.0"),
    ],
)
def test_what_is_suggested_never_allows_more_than_what_was_written(text: str, hint: str) -> None:
    with pytest.raises(ReleaseError, match=rf"expected an SPDX .*did you mean {hint}\?$"):
        check_license(text)


@pytest.mark.parametrize("text", ["", "MIT AND CC0-1.0", "not stated", "../x", "CC-BY-NC-SA-99"])
def test_what_is_no_licence_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ReleaseError, match="expected an SPDX identifier") as caught:
        check_license(text)
    assert "\n" not in str(caught.value)


def test_a_model_s_licence_is_read_as_people_write_it() -> None:
    assert spdx_id("CC BY-SA 3.0") == "CC-BY-SA-3.0"
    assert spdx_id("cc0") == "CC0-1.0"
    assert spdx_id("Apache 2.0") == "Apache-2.0"
    assert spdx_id("by kind permission of the hospital") is None
    assert license_of_model({"license": "not stated"}) == ("", "")


@pytest.mark.parametrize(
    ("model", "license", "why"),
    [
        ("CC-BY-SA-3.0", "CC-BY-SA-3.0", None),
        ("CC-BY-SA-3.0", "CC-BY-SA-4.0", None),
        ("CC-BY-SA-4.0", "CC-BY-SA-3.0", "keeps it or a later version of it, not CC-BY-SA-3.0"),
        ("CC-BY-SA-4.0", "GPL-3.0-only", None),
        ("CC-BY-SA-3.0", "GPL-3.0-only", "keeps it"),
        ("CC-BY-SA-3.0", "CC0-1.0", "keeps it"),
        ("CC-BY-SA-4.0", "CC-BY-NC-SA-4.0", "keeps it"),
        ("CC-BY-NC-SA-4.0", "CC-BY-SA-4.0", "keeps it"),
        ("CC-BY-NC-SA-4.0", "CC-BY-NC-SA-4.0", None),
        ("CC-BY-NC-4.0", "CC-BY-4.0", "forbids commercial use"),
        ("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", None),
        ("CC-BY-4.0", "CC-BY-SA-4.0", None),
        ("CC-BY-4.0", "CC-BY-NC-ND-4.0", None),
        ("CC-BY-4.0", "CC0-1.0", "asks for attribution"),
        ("CC-BY-ND-4.0", "CC-BY-ND-4.0", "forbids to share what is made from it"),
        ("CC-BY-NC-ND-4.0", "CC-BY-4.0", "forbids to share"),
        ("CC0-1.0", "CC-BY-NC-4.0", None),
        ("Apache-2.0", "CC0-1.0", None),
        ("ODbL-1.0", "CC-BY-4.0", "nobody can tell"),
        ("ask Dr Who", "CC0-1.0", "nobody can tell"),
        ("not stated", "CC0-1.0", None),
    ],
)
def test_a_licence_is_held_against_the_model_s_both_ways(
    model: str, license: str, why: str | None
) -> None:
    found = license_conflict(license, {"license": model})
    assert found is None if why is None else why in (found or "")


def test_what_the_card_asks_of_releases_goes_before_the_model_s_own() -> None:
    card = {"license": "Apache-2.0", "release_license": "CC-BY-NC-4.0"}
    assert "the model's card asks of releases" in (license_conflict("CC0-1.0", card) or "")
    assert license_conflict("CC-BY-NC-4.0", card) is None


def test_a_conflict_is_refused_unless_told_in_so_many_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*made_of(tmp_path, SHARE_ALIKE), "--license", "CC0-1.0"]
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "licence CC0-1.0: the model is under CC-BY-SA-3.0, which asks that" in line
    assert "--despite-model-license" in line
    assert Release.open(tmp_path).document.published is None
    assert main([*command, "--despite-model-license"]) == 0
    assert "warning: the model is under CC-BY-SA-3.0" in capsys.readouterr().err
    card = (tmp_path / "README.md").read_text()
    assert "**It is under CC0-1.0 though the model is under CC-BY-SA-3.0" in card
    assert main(command) == 0  # it was told, and stands
    assert "nothing to publish" in capsys.readouterr().out


def test_a_licence_that_generate_was_told_is_held_against_the_model_s_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, plan = open_store(tmp_path), ShardPlan(2, 4)
    begin(store, plan)
    write_shard(store, plan, 0)
    finalise(store, plan, document(model=SHARE_ALIKE, license="cc0", chosen=("license",)))
    assert main(["publish", str(tmp_path), "--author", "A"]) == 2
    assert "licence 'cc0': expected an SPDX identifier" in capsys.readouterr().err
    finalise(store, plan, document(model=SHARE_ALIKE, license="CC0-1.0", chosen=("license",)))
    assert main(["publish", str(tmp_path), "--author", "A"]) == 2
    assert "the model is under CC-BY-SA-3.0" in capsys.readouterr().err


def test_a_licence_of_one_s_own_goes_with_its_text_and_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_release(tmp_path / "r", 4)
    text = tmp_path / "terms.txt"
    text.write_text("Be kind.\nTell us.\n")
    command = ["publish", str(tmp_path / "r"), "--author", "A", "--license", "LicenseRef-Lab"]
    assert main(command) == 2
    assert "LicenseRef-Lab stands nowhere else: give its text" in capsys.readouterr().err
    assert main([*command, "--license-file", str(text)]) == 0
    assert main(["publish", str(tmp_path / "r")]) == 0
    assert "nothing to publish" in capsys.readouterr().out
    reason = ["--reason", "bad", "--yes"]
    assert main(["withdraw", str(tmp_path / "r"), "sub-000001", *reason]) == 0
    assert main(["download", str(tmp_path / "r"), str(tmp_path / "d")]) == 0
    for folder in ("r", "d"):
        assert (tmp_path / folder / "LICENSE").read_text() == text.read_text()
        assert "license:" not in (tmp_path / folder / "CITATION.cff").read_text()
        assert main(["verify", str(tmp_path / folder)]) == 0
    other = ["--license", "CC0-1.0", "--license-file", str(text)]
    assert main(["publish", str(tmp_path / "r"), *other]) == 2
    assert main(["publish", str(tmp_path / "r"), "--license", "CC0-1.0"]) == 0
    assert "Be kind" not in (tmp_path / "r" / "LICENSE").read_text()
