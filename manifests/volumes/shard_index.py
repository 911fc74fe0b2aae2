"""What a set of tar shards says of itself: index.json, the table of its samples, its card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from manifests.digests import DIGEST, sha256
from manifests.errors import ReleaseError, StorageError
from manifests.format.document import DEMONSTRATION
from manifests.format.json_text import MOST_JSON_BYTES, json_bytes, parse_json
from manifests.format.layout import MODALITY, weighted
from manifests.format.parquet import parquet_bytes
from manifests.format.published import Published, changed_since
from manifests.format.release_json import check_expected
from manifests.metadata.bids import license_text
from manifests.metadata.citation import citation_cff, cited
from manifests.metadata.hub import front_matter, hub_features
from manifests.metadata.quality import privacy_told
from manifests.query.release import Release
from manifests.storage.base import Store, check_key
from manifests.text import is_plain, markdown
from manifests.volumes.shard_plan import TarPlan

SHARDS_FORMAT, SHARDS_VERSION = "brainpress-shards", 1
PLAN_KEY, INDEX_KEY, TABLE_KEY = "plan.json", "index.json", "index.parquet"
FILES_BESIDE = 6  # the shards and their digests
TARS = "shard-*.tar"

INDEX_SCHEMA = pa.schema(
    [
        ("shard", pa.string()),
        ("key", pa.string()),
        ("index", pa.int64()),
        ("offset", pa.int64()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("json_offset", pa.int64()),
        ("json_bytes", pa.int64()),
    ]
)


def shard_key(shard: int) -> str:
    """The name of a shard, in the order in which they are written."""
    return f"shard-{shard:06d}.tar"


def digest_key(shard: str) -> str:
    """Where the digest of the shard of that name lies."""
    return f"{shard}.sha256"


def digest_line(shard: str, digest: str) -> bytes:
    """What lies there, as sha256sum writes it."""
    return f"{digest}  {shard}\n".encode()


def index_files(
    release: Release, plan: TarPlan, digests: Mapping[int, str], asked: Mapping[str, Any]
) -> dict[str, bytes]:
    """The files beside the shards, by key; index.json is the last: with it they are complete.

    Args:
        digests: of each shard.
        asked: the content of plan.json.
    """
    document = release.document
    changed = changed_since(release.about, document.published) is not None
    published = None if changed else document.published
    files = {
        TABLE_KEY: parquet_bytes(_table(plan)),
        "README.md": _card(release, plan, published).encode(),
        "LICENSE": license_text(document).encode(),
        "CITATION.cff": citation_cff(document, changed=changed),
    }
    shards = [
        {
            "url": shard_key(shard),
            "samples": plan.starts[shard + 1] - plan.starts[shard],
            "bytes": plan.sizes[shard],
            "sha256": digests[shard],
        }
        for shard in range(plan.count)
    ]
    index = {
        **asked,
        "demonstration": document.demonstration,
        "license": document.license,
        "published": published.last.version if published and not published.closed else None,
        "release_sha256": release.digest,
        "samples": plan.rows.num_rows,
        "bytes": sum(plan.sizes),
        "shards": shards,
        "files": {key: sha256(data) for key, data in files.items()},
    }
    return {**files, INDEX_KEY: json_bytes(index)}


def read_index(store: Store, *, expect: str | None = None) -> dict[str, Any] | None:
    """The content of a set's index.json, as far as its readers rely on it; None where none is.

    Args:
        expect: the SHA-256 that it must have.

    Raises:
        ReleaseError: it is damaged (exit code 1), or not the one expected.
    """
    try:
        data = store.get(INDEX_KEY, most=MOST_JSON_BYTES)
    except KeyError:
        return None
    except StorageError as error:
        # Of a bucket that they may not list, strangers are not told that something is not there.
        if error.exit_code != 2:
            raise
        return None
    where = f"{store.uri}/{INDEX_KEY}"
    index = parse_json(data, where)
    if index.get("format") != SHARDS_FORMAT:
        return None
    if index.get("version") != SHARDS_VERSION:
        raise ReleaseError(f"{where}: of a later format; install a newer brainpress")
    if expect is not None:
        check_expected(data, expect, store.uri)
    if why := _why_damaged(index):
        raise ReleaseError(f"{where} is damaged ({why})", exit_code=1)
    return index


def _why_damaged(index: Mapping[str, Any]) -> str | None:
    files, shards = index.get("files"), index.get("shards")
    if not isinstance(files, dict) or not isinstance(shards, list):
        return "it names no files or no shards"
    digests = dict(files)
    for shard in shards:
        if not isinstance(shard, dict) or not isinstance(shard.get("url"), str):
            return "a shard has no name"
        if not re.fullmatch(r"shard-\d{6,12}\.tar", shard["url"]) or shard["url"] in digests:
            return f"{shard['url']!a:.60} is no name of a shard, or is there twice"
        if type(shard.get("bytes")) is not int or type(shard.get("samples")) is not int:
            return f"{shard['url']} has no size"
        digests[shard["url"]] = shard.get("sha256")
    for key, digest in digests.items():
        try:
            check_key(key)
        except ReleaseError as error:
            return str(error)
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            return f"{key} has no SHA-256"
    for name in ("release", "license"):
        text = index.get(name)
        if not isinstance(text, str) or not is_plain(text):
            return f"{name} is no line of text"
    return None


def _card(release: Release, plan: TarPlan, published: Published | None) -> str:
    """README.md of a set of shards, with the head by which the Hugging Face Hub reads it."""
    document, about = release.document, release.about
    images = plan.rows.num_rows
    head = front_matter(
        document, images=images, files=[TARS], features=hub_features(document.schema)
    )
    source = about.get("source") or {}
    samples = int(source.get("samples") or about["counts"]["samples"])
    told = f"; `{MODALITY}` of its row says of which" if len(document.suffixes) > 1 else ""
    version = f", version {published.last.version}" if published else ""
    sections = [
        f"# {markdown(document.name)}: shards",
        f"**{markdown(published.closed.told)}**" if published and published.closed else "",
        f"**{DEMONSTRATION}**" if document.demonstration else "",
        f"{images:,} synthetic {weighted(document.suffixes)} brain images{told}, as"
        f" {plan.count:,} WebDataset tar files: images of the release {markdown(document.name)}"
        f"{version}. {privacy_told(document.evaluation, samples=samples)}",
        "## What is here\n\n"
        f"- `{TARS}`: of each sample `KEY.nii.gz`, the image, and `KEY.json`, its row of the"
        " release's manifest, in a shuffled order.\n"
        f"- `{TABLE_KEY}`: where each lies: shard, offset, bytes, SHA-256.\n"
        f"- `{INDEX_KEY}`: the shards, and the SHA-256 of every file.",
        "## How to use it\n\n"
        "    import datasets\n\n"
        '    shards = datasets.load_dataset(FOLDER, split="train", streaming=True)\n'
        '    sample = next(iter(shards))\n    sample["nii.gz"], sample["json"]\n\n'
        "(Hugging Face's `datasets`, 4.4 or newer, with `nibabel`; FOLDER is this one, or where it"
        " lies on the Hub.) `webdataset` reads the shards too. `brainpress verify FOLDER` checks"
        " every byte.",
        "## Known limits\n\nThey are what the release is, whose card tells how it was made."
        f" {markdown(document.model.get('limits') or '')}".rstrip(),
        f"## How to cite\n\n{markdown(cited(document))} `CITATION.cff` has it for programs.",
        f"## Licence\n\n{markdown(document.license)}."
        f" {markdown(document.model.get('attribution') or '')}".rstrip(),
    ]
    return head + "\n\n".join(section for section in sections if section) + "\n"


def _table(plan: TarPlan) -> pa.Table:
    """Where each sample lies: with offset and bytes, one range request fetches one volume."""
    tables = []
    for shard in range(plan.count):
        rows = [
            (
                shard_key(shard),
                sample.key,
                sample.index,
                sample.offset,
                sample.image.bytes,
                sample.image.sha256,
                sample.json_offset,
                len(sample.json),
            )
            for sample in plan.samples(shard)
        ]
        columns = map(list, zip(*rows, strict=True))
        tables.append(pa.table(dict(zip(INDEX_SCHEMA.names, columns, strict=True)), INDEX_SCHEMA))
    return pa.concat_tables(tables)
