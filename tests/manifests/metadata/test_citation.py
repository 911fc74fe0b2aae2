"""How a release is cited and catalogued: CITATION.cff, Zenodo, DataCite, schema.org, Croissant."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import mlcroissant
import pytest
import yaml

from manifests.errors import ReleaseError
from manifests.format.document import ReleaseDocument
from manifests.format.layout import CROISSANT_KEY, DATACITE_KEY, MANIFEST_KEY, ZENODO_KEY
from manifests.format.published import check_doi
from manifests.metadata.citation import schema_org
from manifests.publish.plan import PublishOptions
from manifests.publish.publication import publish
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.verify import verify
from manifests.volumes.download import download
from ray_jobs.cli import main
from tests.manifests.publish.test_kill import small_page
from tests.manifests.releases import document, make_release

PERSON = "Lovelace, Ada (Example Lab, London) <https://orcid.org/0000-0002-1825-0097>"
UNIVERSITY = "Brown University <https://ror.org/05gq02987>"
DOI, URL = "10.5281/zenodo.1234567", "https://b.example/r/index.html"


def published(folder: Path, **changes: Any) -> Release:
    wanted: dict[str, Any] = {
        "license": "CC-BY-4.0",
        "date": "2026-11-23",
        "authors": (PERSON, UNIVERSITY, "The Example Lab"),
        "doi": f"https://doi.org/{DOI}",
        "url": URL,
        **changes,
    }
    publish(Release.open(folder), PublishOptions(**wanted), page=small_page)
    return Release.open(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_release(tmp_path / "r", 4)
    published(tmp_path / "r")
    return tmp_path / "r"


def loaded(folder: Path, key: str) -> Any:
    return json.loads((folder / key).read_text())


def test_citation_cff_has_people_organisations_and_the_doi(folder: Path) -> None:
    cff = yaml.safe_load((folder / "CITATION.cff").read_text())
    assert cff["authors"] == [
        {
            "family-names": "Lovelace",
            "given-names": "Ada",
            "affiliation": "Example Lab, London",
            "orcid": "https://orcid.org/0000-0002-1825-0097",
        },
        {"name": "Brown University", "website": "https://ror.org/05gq02987"},
        {"name": "The Example Lab"},
    ]
    assert (cff["doi"], cff["url"], cff["version"]) == (DOI, URL, "1.0.0")


def test_the_doi_is_where_readers_look(folder: Path) -> None:
    assert loaded(folder, "dataset_description.json")["DatasetDOI"] == f"doi:{DOI}"
    assert f"https://doi.org/{DOI}" in (folder / "README.md").read_text()
    assert loaded(folder, CROISSANT_KEY)["citeAs"].endswith(f"https://doi.org/{DOI}")
    assert loaded(folder, "release.json")["published"]["doi"] == DOI


def test_zenodo_and_datacite_have_names_as_a_catalogue_sorts_them(folder: Path) -> None:
    zenodo, datacite = loaded(folder, ZENODO_KEY), loaded(folder, DATACITE_KEY)
    first = {"name": "Lovelace, Ada", "affiliation": "Example Lab, London"}
    assert zenodo["creators"][0] == {**first, "orcid": "0000-0002-1825-0097"}
    assert (zenodo["license"], zenodo["doi"], zenodo["version"]) == ("cc-by-4.0", DOI, "1.0.0")
    assert [one["nameType"] for one in datacite["creators"]] == [
        "Personal",
        "Organizational",
        "Organizational",
    ]
    assert (datacite["doi"], datacite["publicationYear"]) == (DOI, "2026")
    assert datacite["publisher"] == {"name": "Brown University"}
    assert verify(Release.open(folder)).findings == []


def test_a_doi_told_later_makes_no_new_version_and_stays(folder: Path) -> None:
    assert published(folder, doi="10.5281/zenodo.7").document.published.versions[1:] == ()
    again = published(folder, doi=None).document.published
    assert again is not None
    assert again.doi == "10.5281/zenodo.7"


def test_a_release_that_is_not_published_has_no_catalogue_files_and_a_part_neither(
    tmp_path: Path, folder: Path
) -> None:
    store = make_release(tmp_path / "new", 2)
    assert not {ZENODO_KEY, DATACITE_KEY} & set(Release.open(tmp_path / "new").about["files"])
    assert store.look(ZENODO_KEY) is None
    download(Release.open(folder), tmp_path / "part", limit=2)
    assert not (tmp_path / "part" / ZENODO_KEY).exists()


@pytest.mark.parametrize(
    "text", ["10.5281/zenodo.1", "doi:10.5281/zenodo.1", "https://dx.doi.org/10.5281/zenodo.1"]
)
def test_a_doi_is_taken_in_any_of_its_forms(text: str) -> None:
    assert check_doi(text) == "10.5281/zenodo.1"


@pytest.mark.parametrize("text", ["zenodo.1", "10.1/x", "10.5281/", "10.5281/a b", "10.5281/<x>"])
def test_what_is_no_doi_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ReleaseError, match=r"expected such as 10\.5281"):
        PublishOptions(date="2026-11-23", doi=text)


def test_croissant_has_absolute_addresses_once_published_and_a_part_its_own(
    tmp_path: Path, folder: Path
) -> None:
    files = loaded(folder, CROISSANT_KEY)["distribution"]
    assert files[0]["contentUrl"] == f"https://b.example/r/{MANIFEST_KEY}"
    assert not mlcroissant.Dataset(jsonld=folder / CROISSANT_KEY).metadata.issues.errors
    download(Release.open(folder), tmp_path / "part", limit=2)
    files = loaded(tmp_path / "part", CROISSANT_KEY)["distribution"]
    assert files[0]["contentUrl"] == MANIFEST_KEY


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://b.example/r/index.html", "https://b.example/r/"),
        ("https://b.example/r/", "https://b.example/r/"),
        ("https://b.example/r", "https://b.example/r/"),
        ("https://b.example/r/index.html?versionId=3", "https://b.example/r/"),
    ],
)
def test_a_file_lies_beside_the_page(folder: Path, url: str, base: str) -> None:
    told = published(folder, url=url).document.published
    assert told is not None
    assert told.address_of("a/b c.json") == f"{base}a/b%20c.json"


def test_a_bucket_that_is_opened_tells_where_its_files_are_found(bucket: str) -> None:
    uri = f"s3://{bucket}/a/release"
    make_release(uri, 2)
    assert main(["publish", uri, "--license", "CC-BY-4.0", "--author", PERSON]) == 0
    about = json.loads(open_store(uri).get(CROISSANT_KEY))
    records = mlcroissant.Dataset(jsonld=about).records(record_set="manifest")  # by HTTP
    assert [record["manifest/index"] for record in records] == [0, 1]


def test_the_page_has_json_ld_that_no_name_can_break_out_of(tmp_path: Path) -> None:
    name = 'Brains </script><script>alert("x")</script> & more'
    make_release(tmp_path / "r", 2)
    options = PublishOptions(
        license="CC-BY-4.0", date="2026-11-23", authors=(PERSON,), doi=DOI, url=URL, name=name
    )
    publish(Release.open(tmp_path / "r"), options)
    page = (tmp_path / "r" / "index.html").read_text()
    (text,) = re.findall(r'<script type="application/ld\+json">(.*?)</script>', page, re.DOTALL)
    about = json.loads(text)
    assert (about["@type"], about["name"]) == ("Dataset", name)
    assert about["identifier"] == f"https://doi.org/{DOI}"
    assert about["creator"][0]["@id"] == "https://orcid.org/0000-0002-1825-0097"
    assert about["distribution"][0]["contentUrl"].startswith("https://b.example/r/")
    assert f'<a href="https://doi.org/{DOI}">{DOI}</a>' in page


def test_what_was_not_told_is_not_there() -> None:
    about: ReleaseDocument = document()
    found = schema_org(about, ok=2, samples=2)
    assert not {"version", "identifier", "url", "distribution", "datePublished"} & set(found)
