"""The page of a release: what its files hold, and that they come from the release alone."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from manifests.errors import ReleaseError
from manifests.format.layout import image_path, participant_id
from manifests.format.schema import manifest_schema, rows_table
from manifests.page import page_files
from manifests.page.columns import PageColumn, packed, page_columns, wanted_columns
from manifests.page.figures import HEIGHT, bins_of, histogram, ticks, top_of
from manifests.page.html import index_html
from manifests.page.niivue import INTEGRITY, LOCAL_KEY, URL, niivue
from manifests.page.pictures import MOSAIC, MOST_PICTURES, shown_samples
from manifests.pictures.planes import PLANES
from manifests.pictures.png import png_bytes
from manifests.query.release import Release
from manifests.storage.base import content_type_of
from tests.manifests.page_releases import (
    COLUMNS,
    SHAPE,
    head_volume,
    nifti_bytes,
    page_release,
)
from tests.manifests.releases import document, make_release

N = 60


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    store = page_release(tmp_path_factory.mktemp("release") / "local", N, failed=4)
    return Release.open(store.uri)


@pytest.fixture(scope="module")
def files(release: Release) -> dict[str, bytes]:
    return page_files(release)


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def values(self, name: str) -> list[str]:
        return [about[name] or "" for _, about in self.tags if name in about]


def test_the_same_release_gives_the_same_page(release: Release, files: dict[str, bytes]) -> None:
    assert page_files(release) == files
    folders = {key.rpartition("/")[0] for key in files}
    assert folders == {"", "page", "page/pictures", "previews"}
    assert {"index.html", "page/columns.json", "page/columns.bin"} < set(files)


def test_a_page_names_only_its_own_files_and_those_of_its_release(
    release: Release, files: dict[str, bytes]
) -> None:
    page = Tags(files["index.html"].decode())
    local = {value.partition("#")[0].partition("?")[0] for value in page.values("src")}
    local |= {value.partition("#")[0] for value in page.values("href")}
    outside = {value for value in local if "://" in value or value.startswith(("/", "data:"))}
    assert {value.partition(":")[0] for value in outside} == {"data", "https"}
    assert [v for v in outside if v.startswith("https")] == [
        "https://creativecommons.org/licenses/by-sa/3.0/legalcode"
    ]
    for value in local - outside - {"", "."}:
        assert value in files or release.store.get(value)
    assert release.store.uri.encode() not in b"".join(files.values())


def test_nothing_runs_in_a_page_but_its_own_script(files: dict[str, bytes]) -> None:
    page = Tags(files["index.html"].decode())
    scripts = [about for tag, about in page.tags if tag == "script"]
    assert scripts == [
        {"type": "application/ld+json"},
        {"defer": None, "src": "page/local.js"},
        {"type": "module", "src": "page/page.js"},
    ]
    assert not [tag for tag, _ in page.tags if tag in ("style", "iframe", "object", "base")]
    assert not [name for _, about in page.tags for name in about if name.startswith("on")]
    assert not page.values("style")
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv")) or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert f"script-src 'self' {URL};" in policy


def test_every_script_that_is_imported_is_there_and_served_as_script(
    files: dict[str, bytes],
) -> None:
    scripts = {key for key in files if key.endswith(".js")}
    named = {"page/page.js", "page/local.js"}
    for key in scripts:
        imported = re.findall(r'from "\./([^"]+)"', files[key].decode())
        named |= {f"page/{name}" for name in imported}
    assert named == scripts
    assert {content_type_of(key) for key in scripts} == {"text/javascript; charset=utf-8"}
    assert {"page/base.css", "page/page.css"} < set(files)
    assert content_type_of("page/page.css") == "text/css; charset=utf-8"


def test_the_mosaic_shows_images_that_are_there_and_are_hung_by_age(
    release: Release, files: dict[str, bytes]
) -> None:
    text = files["index.html"].decode()
    shown = re.findall(r'<li><a href="#sample=(sub-\d+)"', text)
    assert len(shown) == MOSAIC
    assert all(MOSAIC % columns == 0 for columns in (3, 4, 6, 8)), "rows without a hole"
    assert {f"page/pictures/{key}.png" for key in shown} < set(files)
    pictured = json.loads(files["page/columns.json"])["pictured"]
    assert len(pictured["indices"]) == N - 4
    assert {f"page/pictures/{participant_id(i)}.png" for i in pictured["indices"]} < set(files)
    rows = {row["participant_id"]: row for row in release.query().to_pylist()}
    assert {rows[key]["status"] for key in shown} == {"ok"}
    ages = [rows[key]["age"] for key in shown]
    assert ages == sorted(ages)


@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPI", "SRA", "PIL"])
def test_left_is_left_front_is_up_whatever_the_voxels_order(codes: str, tmp_path: Path) -> None:
    plain = nib.Nifti1Image(head_volume(), np.diag([5.0, 5.0, 5.0, 1.0]))
    wanted = nib.orientations.axcodes2ornt(codes)
    turned = plain.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(plain.affine), wanted)
    )
    store = make_release(tmp_path, 1)
    data = nifti_bytes(np.asarray(turned.dataobj), turned.affine)
    store.put(image_path(0), data)
    release = Release.open(store.uri)
    release.query = _with_image(release, data)  # type: ignore[method-assign]
    (sample,) = shown_samples(release)
    assert set(sample.views) == set(PLANES)
    for plane, (down, across) in {"axial": ("up", "left"), "coronal": ("up", "left")}.items():
        rows, columns = np.nonzero(sample.views[plane] == 255)  # type: ignore[index]
        height, width = sample.views[plane].shape  # type: ignore[index]
        assert columns.mean() < width / 2, across
        assert rows.mean() < height / 2, down
    assert sample.grid.endswith("at 5 mm")


def _with_image(release: Release, data: bytes):  # type: ignore[no-untyped-def]
    from manifests.digests import sha256

    query = release.query

    def changed(*args, **kwargs):  # type: ignore[no-untyped-def]
        table = query(*args, **kwargs)
        for name, value in {"sha256": sha256(data), "bytes": len(data)}.items():
            if name in table.column_names:
                place = table.schema.get_field_index(name)
                field = table.schema.field(place)
                table = table.set_column(place, field, pa.array([value], field.type))
        return table

    return changed


def test_a_png_file_holds_the_pixels(files: dict[str, bytes]) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (37, 53), np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(png_bytes(grey)))) == grey).all()
    smooth = np.add.outer(np.arange(64), np.arange(80)).astype(np.uint8)
    assert len(png_bytes(smooth)) < smooth.size / 8
    sheet = Image.open(io.BytesIO(files["previews/contact-sheet.png"]))
    sheet.load()
    assert sheet.mode == "L"
    assert sheet.size > (900, 600)
    with pytest.raises(ValueError, match="expected uint8"):
        png_bytes(grey.astype(float))


def unpacked(spec: dict[str, object], data: bytes, rows: int) -> np.ndarray:
    """What rows.js does."""
    least, scale = spec.get("least", 0), 10.0 ** spec.get("decimals", 0)  # type: ignore[operator]
    if spec["type"] == "range":
        return (np.arange(rows) + least) / scale
    kind, offset = f"<{spec['type']}", spec["offset"]
    codes = np.frombuffer(data, kind, rows, offset)  # type: ignore[call-overload]
    if spec["type"] == "f8":
        return codes
    return np.where(codes == 0, np.nan, (codes.astype(float) - 1 + least) / scale)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([5, 6, 7, 8], "range"),
        ([0, 1, 0, 1], "u1"),
        ([63.1234, 44.5, np.nan, 82.0], "u4"),
        ([-1.5, 300.25, np.nan, 0.0], "u2"),
        ([1e9 + 0.1, 1e9 + 0.2, 1e9, 1e9], "u1"),
        ([1 / 3, 2 / 3, np.nan, 1e300], "f8"),
        ([-0.0, 1.0, 1.0, 1.0], "f8"),
        ([np.nan] * 4, "u1"),
        ([2.0**60, 0.0, 1.0, 2.0], "f8"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_browser_gets_the_very_numbers(values: list[float], kind: str) -> None:
    columns = [PageColumn("a", "asked", np.array(values)), PageColumn("b", "asked", np.ones(4))]
    specs, data = packed(columns)
    assert specs[0]["type"] == kind
    found = unpacked(specs[0], data, 4)
    assert np.array_equal(found, np.array(values), equal_nan=True)
    assert np.array_equal(unpacked(specs[1], data, 4), np.ones(4))
    assert all(spec["offset"] % 8 == 0 for spec in specs)


def test_the_columns_of_the_page_are_the_manifests(
    release: Release, files: dict[str, bytes]
) -> None:
    about = json.loads(files["page/columns.json"])
    table = release.query()
    assert about["rows"] == N
    assert [c["name"] for c in about["columns"]] == [
        *("index", "sex", "age", "volume", "site", "extrapolated", "status")
    ]
    for column in about["columns"]:
        found = unpacked(column["stored"], files["page/columns.bin"], N)
        expected = table[column["name"]].to_pylist()
        if column["levels"]:
            told = [column["levels"][int(place)] for place in found]
            assert told == [str(v).lower() if isinstance(v, bool) else v for v in expected]
        else:
            assert found.tolist() == expected


@pytest.mark.parametrize(
    "values", [[0.1, 0.2], [7.0], [-3e-9, 5e-9], [6995.68, 171375.0], [], [1e12, 1e12 + 1]], ids=str
)
def test_bins_hold_every_number(values: list[float]) -> None:
    numbers = np.array(values)
    bins = bins_of(numbers)
    assert 1 <= bins.count <= 40
    for value, place in zip(numbers, bins.places(numbers), strict=True):
        assert bins.low + place * bins.step <= value * (1 + 1e-12) + 1e-12
        assert value <= bins.low + (place + 1) * bins.step * (1 + 1e-9)


def test_few_numbers_have_few_bins_and_an_axis_ends_at_a_round_count() -> None:
    rng = np.random.default_rng(0)
    counts = [bins_of(rng.uniform(20, 80, n)).count for n in (4, 16, 100, 1_000, 100_000)]
    assert counts == sorted(counts)
    assert counts[1] <= 8
    assert counts[-1] >= 24
    for most in range(1, 5_000):
        top = top_of(most)
        assert most <= top <= 2 * most
        assert top == 1 or top % 2 == 0


@pytest.mark.parametrize("span", [(21.2, 79.0), (1.19e6, 1.31e6), (0.0, 1.0), (7.0, 7.0)], ids=str)
def test_marks_below_a_figure_stand_where_they_say(span: tuple[float, float]) -> None:
    for n in (5, 300, 50_000):
        bins = bins_of(np.linspace(*span, n))
        marks = ticks(bins, 1000.0)
        assert 1 <= len(marks) <= 7
        for share, mark in marks:
            assert -1e-9 <= share <= 1 + 1e-9
            assert bins.low + share * (bins.high - bins.low) == pytest.approx(mark * 1000)


def test_a_figure_has_axes_and_counts_what_was_measured_to_the_same_scale() -> None:
    asked = PageColumn("age", "asked", np.array([20.0, 30, 40, 50, 60]))
    found = PageColumn("measured_age", "measured", np.full(5, 41.0), shows="age")
    figure = histogram(asked, bins_of(asked.values, found.values), None, found)
    assert 'data-top="6"' in figure
    assert re.findall(r">(\d+)</text>", figure)[:3] == ["6", "3", "0"]
    bar = f"{HEIGHT / 6:.1f}"
    assert f"v-{bar}h" in figure  # one image
    assert f"V{HEIGHT - 5 / 6 * HEIGHT:.1f}h" in figure  # five


def test_numbers_are_rounded_and_volumes_are_in_millilitres(
    release: Release, files: dict[str, bytes]
) -> None:
    columns = {c["name"]: c for c in json.loads(files["page/columns.json"])["columns"]}
    shown = {name: (columns[name]["unit"], columns[name]["per"]) for name in ("age", "volume")}
    assert shown == {"age": ("years", 1), "volume": ("mL", 1000)}
    assert {columns[name]["decimals"] for name in ("age", "volume")} == {1}
    page = files["index.html"].decode()
    assert "mm³" not in page
    assert "Trained on 5 to 170." in page
    for values, decimals in ([0.1, 0.97], 2), ([1190.4, 1320.1], 0), ([3, 4], 0), ([], 0):
        assert PageColumn("a", "told", np.array(values, float)).decimals == decimals


def test_the_head_of_the_page_has_a_brain_the_authors_download_and_cite(
    files: dict[str, bytes],
) -> None:
    page = files["index.html"].decode()
    head = page[page.index("<h1>") : page.index("</header>")]
    order = ['class="authors"', 'href="#download"', 'popovertarget="cite"', "<img", 'class="lede"']
    assert [head.index(word) for word in order] == sorted(head.index(word) for word in order)
    assert head.count("<img") == len(PLANES)
    assert "Evaluation report" not in head
    assert "@misc{thebrainpressauthors" in page
    for riddle in ("Plates", "Take it", "hung", "printed"):
        assert riddle not in re.sub("<[^>]+>", "", page)


def test_a_large_release_has_some_pictures_and_none_of_large_images_is_drawn_by_a_browser(
    tmp_path: Path, release: Release
) -> None:
    store = page_release(tmp_path / "many", 3 * MOST_PICTURES)
    about = json.loads(page_files(Release.open(store.uri))["page/columns.json"])["pictured"]
    assert len(about["indices"]) == MOST_PICTURES
    assert about["drawn"] is True
    counts = {**release.about["counts"], "image_bytes": 56 * 3_500_000}
    heavy = Release(release.store, {**release.about, "counts": counts})
    assert json.loads(page_files(heavy)["page/columns.json"])["pictured"]["drawn"] is False


def test_what_was_measured_stands_beside_what_was_asked(release: Release) -> None:
    table = release.query(columns=wanted_columns(release.schema, COLUMNS))
    for name, unit in (("measured_age", b"year"), ("measured_volume", b"mL")):
        field = pa.field(name, pa.float64(), metadata={b"unit": unit, b"description": b"by us"})
        values = [None if i % 7 == 0 else 50.0 + i for i in range(N)]
        table = table.append_column(field, pa.array(values))
    assert wanted_columns(table.schema, COLUMNS)[5:7] == ["measured_age", "measured_volume"]
    columns = {column.name: column for column in page_columns(table, COLUMNS)}
    assert columns["measured_age"].shows == "age"
    assert columns["measured_volume"].shows is None  # another unit
    assert np.isnan(columns["measured_age"].values[::7]).all()
    about = [c for c in columns.values() if c.name in ("age", "measured_age", "measured_volume")]
    text = index_html(
        release,
        columns=about,
        bins={c.name: bins_of(c.values) for c in about},
        samples=[],
        viewer=niivue(None),
        card="",
        changes="",
        digest="",
    )
    assert text.count('class="measured"') == 1
    assert "measured on the image" in text
    assert 'data-column="measured_volume"' in text


def test_version_date_licence_and_card_are_on_the_page(
    tmp_path: Path, release: Release, files: dict[str, bytes]
) -> None:
    page = files["index.html"].decode()
    assert "<dt>Version</dt><dd>1.0.0</dd>" in page
    assert "This is a demonstration" in page
    assert "56 synthetic T1-weighted brain images" in page
    shape = " \N{MULTIPLICATION SIGN} ".join(map(str, SHAPE))
    assert f"<dd>{shape} at 5 mm</dd>" in page
    card = re.sub("<[^>]+>", "", page[page.index('<div class="card">') :])
    readme = release.store.get("README.md").decode()
    for word in ("What the model was trained on", "Known limits", "How to cite", "sub-*/anat"):
        assert word in readme
        assert word in card
    assert "\\" not in card
    release.store.put("CHANGES", b"2.1.0 2026-11-23\n  - more\n\n1.0.0 2026-01-01\n  - first\n")
    later = page_files(Release.open(release.store.uri))["index.html"].decode()
    release.store.put("CHANGES", b"1.0.0\n  - 56 synthetic volumes, seed 7\n")
    assert "<dt>Version</dt><dd>2.1.0</dd>" in later
    assert "<dt>Date</dt><dd>2026-11-23</dd>" in later


def test_a_release_without_images_or_covariates_has_a_page(tmp_path: Path) -> None:
    store = make_release(tmp_path / "failed", 3, failed=(0, 1, 2))
    page = page_files(Release.open(store.uri))
    assert not [key for key in page if key.startswith("page/pictures/")]
    assert Image.open(io.BytesIO(page["previews/contact-sheet.png"])).size
    from manifests.metadata.staging import write_release
    from manifests.storage import open_store

    bare = open_store(tmp_path / "bare")
    about = document(columns=(), quality=())
    write_release(bare, rows_table([], manifest_schema((), ())), about)
    page = page_files(Release.open(bare.uri))
    assert json.loads(page["page/columns.json"])["rows"] == 0
    assert b"0 synthetic" in page["index.html"]


def test_an_image_that_is_missing_or_another_is_told_by_its_name(tmp_path: Path) -> None:
    store = make_release(tmp_path, 3)
    image = tmp_path / image_path(1)
    data = image.read_bytes()
    image.write_bytes(data[:-1] + b"x")
    with pytest.raises(ReleaseError, match=r"sub-000001_T1w.nii.gz: its SHA-256") as broken:
        page_files(Release.open(store.uri))
    image.unlink()
    with pytest.raises(ReleaseError, match=r"sub-000001_T1w.nii.gz is missing") as missing:
        page_files(Release.open(store.uri))
    assert broken.value.exit_code == missing.value.exit_code == 1


def test_niivue_is_pinned_or_a_file_of_ones_own(tmp_path: Path, release: Release) -> None:
    assert niivue(None).integrity == INTEGRITY.strip()
    assert re.fullmatch(r"https://cdn\.jsdelivr\.net/npm/@niivue/niivue@\d+\.\d+\.\d+/.*\.js", URL)
    own = tmp_path / "niivue.umd.js"
    own.write_text("(function(a,b){b(a.niivue = {})})(this,function(c){c.Niivue=class{}})")
    page = page_files(release, viewer=str(own))
    assert page[LOCAL_KEY] == own.read_bytes()
    about = next(a for tag, a in Tags(page["index.html"].decode()).tags if tag == "dialog")
    assert about["data-niivue"] == LOCAL_KEY
    assert (about["data-integrity"] or "").startswith("sha384-")
    assert b"cdn.jsdelivr.net" not in page["index.html"]
    other = niivue("https://example.org/niivue.js#sha384-abcd")
    assert (other.src, other.integrity) == ("https://example.org/niivue.js", "sha384-abcd")
    own.write_text("not it")
    for wrong in (
        *("http://example.org/n.js", "https://a b/n.js", "javascript://%0aalert(1)"),
        *("https://x.org/a;script-src *", "https://x.org/a.js#md5-1", str(own), str(tmp_path)),
    ):
        with pytest.raises(ReleaseError, match="viewer"):
            niivue(wrong)
