"""Label maps in the page's viewer: what it is told, and the colours that it lays over an image."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from manifests.format.segmentation.layout import map_path
from manifests.page import page_files
from manifests.query.release import Release
from tests import ROOT
from tests.manifests.label_maps import REGIONS, label_map, segment
from tests.manifests.releases import SHAPE, image_bytes, make_release

ASSETS = ROOT / "manifests" / "page" / "assets"
DENO = Path(sys.executable).with_name("deno")  # comes with the BIDS validator
SLICE = """
import process from "node:process";
globalThis.ImageData = class { constructor(data) { this.data = data; } };
const fs = await import("node:fs");
const { parse } = await import(process.argv[1]);
const read = (path) => {
  const found = fs.readFileSync(path);
  return parse(found.buffer.slice(found.byteOffset, found.byteOffset + found.length));
};
const [image, labels] = process.argv.slice(2, 4).map(read);
const regions = new Map(JSON.parse(process.argv[4]).map((one) => [one.number, one]));
const at = [3, 5, 4];
const pixels = (...more) => [...image.slice(0, 1, at, ...more).data];
console.log(JSON.stringify({ same: image.sameGrid(labels), at: labels.at(at),
  plain: pixels(), over: pixels(labels, regions) }));
"""


def columns(release: Release) -> dict[str, object]:
    found: dict[str, object] = json.loads(page_files(release)["page/columns.json"])
    return found


def test_the_page_is_told_of_regions_where_there_are_some(tmp_path: Path) -> None:
    store = make_release(tmp_path, 4)
    assert "regions" not in columns(Release.at(store))
    segment(store)
    assert b'id="viewer-regions"' in page_files(Release.at(store))["index.html"]
    assert columns(Release.at(store))["regions"] == [
        {"number": one.number, "name": one.name, "colour": list(one.colour)} for one in REGIONS
    ]


def test_the_page_looks_for_maps_where_they_lie() -> None:
    place = map_path(7).replace("sub-000007", "${sample}")
    assert f"`{place}`" in (ASSETS / "rows.js").read_text()


def test_regions_are_laid_over_the_image_in_their_colours(tmp_path: Path) -> None:
    made, _ = label_map(image_bytes(1))
    for name, data in (("image", image_bytes(1)), ("labels", made)):
        (tmp_path / name).write_bytes(gzip.decompress(data))
    (tmp_path / "nifti.mjs").write_bytes((ASSETS / "nifti.js").read_bytes())
    (tmp_path / "slice.mjs").write_text(SLICE.replace("process.argv[1]", '"./nifti.mjs"'))
    regions = [{"number": 1, "name": "left hippocampus", "colour": [200, 0, 0]}]
    words = [DENO, "run", "--quiet", "--no-prompt", "--allow-read", tmp_path / "slice.mjs"]
    words += [tmp_path / "image", tmp_path / "labels", json.dumps(regions)]
    home = {"DENO_DIR": str(tmp_path / "deno"), "HOME": str(tmp_path)}
    done = subprocess.run(
        words, env=home, capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path
    )
    told = json.loads(done.stdout)
    assert told["same"] is True
    shape = SHAPE[1], SHAPE[0], 4
    plain, over = (np.array(told[name]).reshape(shape) for name in ("plain", "over"))
    numbers = np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(made)).dataobj)
    inside = (numbers[:, :, 4] == 1).T[::-1]
    assert told["at"] == numbers[3, 5, 4]
    assert 0 < inside.sum() < inside.size
    np.testing.assert_array_equal(over[~inside], plain[~inside])
    for part, colour in enumerate((200, 0, 0)):
        mixed = 0.55 * plain[inside][:, part] + 0.45 * colour
        np.testing.assert_allclose(over[inside][:, part], mixed, atol=0.51)
