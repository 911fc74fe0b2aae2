"""The readers of models, of MONAI bundles, and of scans that come to be prepared."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from hypothesis import strategies as st

from ldm.covariates import PAPER_SCHEMA
from ldm.loading import describe, load
from ldm.models.bundle.configs import network_configs, read_configs, volume_shape
from ldm.models.bundle.digests import digests
from ldm.models.bundle.weights import load_file
from ldm.models.card import render_card
from ldm.models.description import AUTOENCODER, CONFIG, DISTRIBUTION
from ldm.networks import Autoencoder
from ldm.networks.weights import load_weights, weight_bytes
from ldm.training.presets import tiny
from ldm.volumes.conversion import read_image, to_grid
from ldm.volumes.grid import Grid
from ray_jobs.preparation.job import read_schema
from tests.e2e.running import tiny_model
from tests.fuzzing.mutations import mutated_bytes, mutated_document, mutated_json
from tests.fuzzing.readers import Reader, bombs, mutated_headers
from tests.ldm.bundles import write_bundle

GRID = Grid(shape=(8, 12, 8), spacing=10.0)


def model_readers(scratch: Path) -> list[Reader]:
    """Readers of model folders, covariates, weights and bundles, made in `scratch`."""
    folder = tiny_model(scratch / "model")
    config, spread = (json.loads((folder / name).read_text()) for name in (CONFIG, DISTRIBUTION))
    rng = np.random.default_rng(0)

    def consume() -> bool:
        description = describe(folder)
        row = description.distribution.sample(rng, fixed={})
        description.schema.scale(row)
        assert "<script" not in render_card(description).replace("\\<script", "")
        load(folder, device="cpu", precision="fp32")
        return True

    def read_config(data: bytes) -> bool:
        (folder / CONFIG).write_bytes(data)
        return consume()

    def read_distribution(data: bytes) -> bool:
        about = json.loads(json.dumps(config))
        entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        about["files"][DISTRIBUTION] = entry
        (folder / CONFIG).write_text(json.dumps(about))
        (folder / DISTRIBUTION).write_bytes(data)
        try:
            return consume()
        finally:
            (folder / CONFIG).write_text(json.dumps(config))
            (folder / DISTRIBUTION).write_text(json.dumps(spread))

    def read_weights(data: bytes) -> bool:
        load_weights(network, data, AUTOENCODER)
        return True

    def read_covariates(data: bytes) -> bool:
        path = scratch / "covariates.json"
        path.write_bytes(data)
        schema = read_schema(str(path))
        schema.validate({c.name: c.unscale(0.5) for c in schema.covariates})
        return True

    network = Autoencoder(tiny().autoencoder)
    weights = weight_bytes(network, torch.float16)
    return [
        Reader("model.json", mutated_json(config), read_config),
        Reader("covariates.json of a model", mutated_json(spread), read_distribution),
        Reader("weights, safetensors", mutated_safetensors(weights), read_weights),
        Reader("schema (--covariates)", mutated_json(PAPER_SCHEMA.to_json()), read_covariates),
        *bundle_readers(scratch),
        *scan_readers(scratch),
    ]


def bundle_readers(scratch: Path) -> list[Reader]:
    folder = write_bundle(scratch / "bundle")
    names = ("configs/metadata.json", "configs/inference.json")
    metadata, inference = (json.loads((folder / name).read_text()) for name in names)
    network = torch.nn.Linear(3, 2)
    saved = io.BytesIO()
    torch.save(network.state_dict(), saved)

    def read_documents(data: tuple[bytes, bytes]) -> bool:
        for name, part in zip(names, data, strict=True):
            (folder / name).write_bytes(part)
        first, second = read_configs(folder, "monai")
        network_configs(second, "monai")
        volume_shape(first, 8, "monai")
        return True

    def read_weights(data: bytes) -> bool:
        path = scratch / "weights.pt"
        path.write_bytes(data)
        digests(path)
        load_file(network, path, "weights.pt")
        return True

    documents = st.one_of(
        st.tuples(mutated_json(metadata), st.just(json.dumps(inference).encode())),
        st.tuples(st.just(json.dumps(metadata).encode()), mutated_json(inference)),
    )
    files = st.one_of(mutated_bytes(saved.getvalue()), mutated_archives(saved.getvalue()))
    return [
        Reader("configs of a bundle", documents, read_documents),
        Reader("weights of a bundle, .pt", files, read_weights),
    ]


def scan_readers(scratch: Path) -> list[Reader]:
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (12, 14, 10)), indexing="ij")
    head = (1000 * np.exp(-3 * (x**2 + y**2 + z**2))).astype(np.int16)
    affine = np.diag([12.0, 12.0, 12.0, 1.0])
    plain = nib.Nifti1Image(head, affine).to_bytes()
    second = nib.Nifti2Image(head, affine).to_bytes()

    def read_scan(data: tuple[str, bytes]) -> bool:
        path = scratch / f"scan{data[0]}"
        path.write_bytes(data[1])
        to_grid(*read_image(path), GRID)
        return True

    packed = mutated_headers(plain).map(lambda data: gzip.compress(data, 1, mtime=0))
    whole = gzip.compress(plain, 1, mtime=0)
    files = st.one_of(
        st.tuples(st.just(".nii"), mutated_headers(plain)),
        st.tuples(st.just(".nii"), mutated_bytes(second)),
        st.tuples(st.just(".nii.gz"), packed),
        st.tuples(st.just(".nii.gz"), st.one_of(mutated_bytes(whole), st.sampled_from(bombs()))),
    )
    return [Reader("scan to prepare, NIfTI", files, read_scan)]


@st.composite
def mutated_safetensors(draw: st.DrawFn, valid: bytes) -> bytes:
    """Weights with changes in their header, the length before it kept true, or anywhere."""
    if draw(st.booleans()):
        return draw(mutated_bytes(valid))
    size = int.from_bytes(valid[:8], "little")
    header: dict[str, Any] = json.loads(valid[8 : 8 + size])
    changed = draw(mutated_document(dict(list(header.items())[:4])))
    if draw(st.booleans()) and changed:
        claimed = {"dtype": "F32", "shape": [2**40, 4], "data_offsets": [0, 2**44]}
        changed[next(iter(changed))] = claimed
    text = json.dumps({**header, **changed}).encode()
    length = draw(st.sampled_from([len(text), len(text), len(text), 2**40, 2**63 - 1]))
    return struct.pack("<Q", length) + text + valid[8 + size :]


@st.composite
def mutated_archives(draw: st.DrawFn, valid: bytes) -> bytes:
    """A file of `torch.save` whose entries are changed, with checksums that fit."""
    sink = io.BytesIO()
    packing = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    with zipfile.ZipFile(io.BytesIO(valid)) as source, zipfile.ZipFile(sink, "w", packing) as made:
        chosen = draw(st.sampled_from(source.namelist()))
        for name in source.namelist():
            data = source.read(name)
            if name == chosen:
                data = draw(st.one_of(mutated_bytes(data or b"x"), st.just(b""), st.just(bytes(9))))
            made.writestr(name, data)
    return sink.getvalue()
