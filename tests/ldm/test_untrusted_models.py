"""Models and scans of strangers: bombs, absurd claims and text that would do something."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from ldm.errors import LdmError
from ldm.loading import describe, load
from ldm.models.bundle.documents import inference_config, readme
from ldm.models.card import render_card
from ldm.models.description import AUTOENCODER, CONFIG
from ldm.networks import AutoencoderConfig
from ldm.networks.weights import load_weights
from ldm.untrusted import markdown, one_line
from ldm.volumes.conversion import read_image
from ldm.volumes.nifti import from_bytes
from tests.e2e.running import tiny_model
from tests.memory import peak

GIGABYTE = 2**30
ZEROS = gzip.compress(bytes(2**24), 9, mtime=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "model")


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((folder / CONFIG).read_text())
    change(document)
    (folder / CONFIG).write_text(json.dumps(document))


def refused(act: Callable[[], object]) -> str:
    """The one line that `act` ends with, in little memory."""
    with peak() as used, pytest.raises(LdmError) as caught:
        act()
    assert used.mb < 150, f"{used.mb:.0f} MB"
    assert str(caught.value).isprintable()
    return str(caught.value)


def header(shape: tuple[int, ...], dtype: type = np.int16, **fields: Any) -> bytes:
    """A NIfTI header of these sides, and nothing behind it."""
    image = nib.Nifti1Image(np.zeros((4, 4, 4), dtype), np.diag([2.0, 2.0, 2.0, 1.0]))
    data = bytearray(image.to_bytes()[:352])
    data[42 : 42 + 2 * len(shape)] = np.array(shape, "<i2").tobytes()
    for at, value in fields.values():
        data[at : at + len(value)] = value
    return bytes(data)


def bomb(path: Path, head: bytes) -> Path:
    """A small file that unpacks to this header and a gigabyte of zeros."""
    path.write_bytes(gzip.compress(head, mtime=0) + ZEROS * (GIGABYTE // 2**24))
    assert path.stat().st_size < 2_000_000
    return path


@pytest.mark.parametrize(
    ("shape", "dtype", "line"),
    [
        ((4, 4, 4), np.int16, "empty volume"),
        ((1024, 1024, 512), np.int16, "expected at most"),
        ((512, 512, 512), np.float64, "expected at most"),
        (
            (32767, 32767, 32767),
            np.int16,
            "32767 x 32767 x 32767 voxels of int16: expected at most",
        ),
    ],
    ids=["little", "a gigabyte", "a gigabyte of float64", "35 TB"],
)
def test_a_gigabyte_of_zeros_is_not_unpacked(
    tmp_path: Path, shape: tuple[int, ...], dtype: type, line: str
) -> None:
    path = bomb(tmp_path / "a.nii.gz", header(shape, dtype))
    assert line in refused(lambda: read_image(path))


FIELD = {
    "dim is negative": ((42, struct.pack("<h", -4)), "unreadable image|empty volume"),
    "offset is huge": ((108, struct.pack("<f", 1e9)), "unreadable image"),
    "offset is no number": ((108, struct.pack("<f", float("nan"))), "unreadable image"),
    "offset is infinite": ((108, struct.pack("<f", float("inf"))), "unreadable image"),
    "affine is no number": ((280, struct.pack("<f", float("nan"))), "affine is not finite"),
    "affine is immense": ((280, struct.pack("<f", 1e30)), "affine is not finite"),
    "voxels are tiny": ((280, struct.pack("<4f", 1e-9, 0, 0, 0)), "voxels of"),
    "type is complex": ((70, struct.pack("<2h", 32, 64)), "unreadable image"),
    "type is unknown": ((70, struct.pack("<2h", 3, 8)), "unreadable image"),
    "slope is immense": ((112, struct.pack("<f", 1e35)), "scaling"),
}


@pytest.mark.parametrize(("field", "line"), FIELD.values(), ids=FIELD.keys())
def test_an_absurd_header_is_told(tmp_path: Path, field: tuple[int, bytes], line: str) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(header((4, 4, 4), field=field) + bytes(range(128)), mtime=0))
    found = refused(lambda: read_image(path))
    assert any(part in found for part in line.split("|")), found


def test_header_extensions_are_passed_over(tmp_path: Path) -> None:
    """One claims two gigabytes, which nibabel would read, of a packed file from 2 MB."""
    head = bytearray(header((4, 4, 4)))
    head[108:112], head[348:352] = struct.pack("<f", 416), b"\x01\0\0\0"
    voxels = np.arange(64, dtype="<i2").tobytes()
    extension = struct.pack("<2i", 2**31 - 16, 6) + bytes(56)
    data = gzip.compress(bytes(head) + extension + voxels, mtime=0)
    (tmp_path / "a.nii.gz").write_bytes(data)
    found, _ = read_image(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.ravel(order="F"), np.arange(64))
    np.testing.assert_array_equal(
        np.asarray(from_bytes(data).dataobj).ravel(order="F"), np.arange(64)
    )


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "a.nii")
    assert "not a file" in refused(lambda: read_image(tmp_path / "a.nii"))


DOCUMENTS = {
    "deep": b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "many": b'{"a": [' + b"[]," * 2_000_000 + b"1]}",
    "large": b'{"a": "' + b"x" * (64 * 2**20) + b'"}',
    "half a pair": b'{"a": "\\ud800"}',
    "digits": b'{"a": ' + b"9" * 100_000 + b"}",
    "not utf-8": b'{"a": "\xff"}',
}


@pytest.mark.parametrize("data", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_json_that_would_fill_stack_or_memory_is_told(folder: Path, data: bytes) -> None:
    (folder / CONFIG).write_bytes(data)
    assert f"{CONFIG} is not JSON" in refused(lambda: describe(folder))


def claims(**entries: Any) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + bytes(64)


WEIGHTS = {
    "a header of terabytes": struct.pack("<Q", 2**42) + b"{" * 64,
    "a tensor of terabytes": claims(
        x={"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
    ),
    "sides that overflow": claims(x={"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 64]}),
    "an unknown type": claims(x={"dtype": "F3", "shape": [4], "data_offsets": [0, 64]}),
    "not JSON": struct.pack("<Q", 8) + b"pickled!" + bytes(64),
    "a pickle": b"\x80\x04cposix\nsystem\n(S'touch /tmp/x'\ntR.",
    "nothing": b"",
}


@pytest.mark.parametrize("data", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_weights_that_claim_the_absurd_are_told(data: bytes) -> None:
    network = torch.nn.Linear(2, 2)
    assert "not a safetensors file" in refused(lambda: load_weights(network, data, "x"))


CONFIGS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "wide": (lambda d: d["autoencoder"].update(channels=[10**9, 10**9]), "expected a whole number"),
    "wide as allowed": (
        lambda d: d["denoiser"].update(channels=[16384, 16384], head_channels=[0, 16384]),
        "asks for",
    ),
    "blocks": (lambda d: d["autoencoder"].update(num_res_blocks=10**9), "num_res_blocks"),
    "patch": (lambda d: d["autoencoder"].update(patch=10**6), "patch"),
    "levels": (lambda d: d["autoencoder"].update(channels=[8] * 50), "50 levels"),
    "grid": (lambda d: d["grid"].update(shape=[10**6] * 3), "expected at most"),
    "spacing": (lambda d: d["grid"].update(spacing=float("nan")), "spacing"),
    "steps": (lambda d: d["schedule"].update(steps=10**12), "schedule of"),
    "covariates": (
        lambda d: d.update(
            covariates=[{**d["covariates"][1], "name": f"x{i}"} for i in range(999)]
        ),
        "at most 100",
    ),
    "name": (lambda d: d.update(name="demo\x1b[2J"), "expected one line of text"),
    "licence": (lambda d: d["card"].update(license=["MIT"]), "is no text"),
    "level": (lambda d: d["covariates"][0].update(levels=["F", "M\x07"]), "plain text"),
    "file": (lambda d: d["files"].update({AUTOENCODER: {"sha256": "0", "bytes": 10**18}}), "bytes"),
}


@pytest.mark.parametrize(("change", "line"), CONFIGS.values(), ids=CONFIGS.keys())
def test_a_config_that_would_fill_the_memory_is_told(
    folder: Path, change: Callable[[dict[str, Any]], object], line: str
) -> None:
    edit(folder, change)
    assert line in refused(lambda: load(folder, device="cpu", precision="fp32"))


def test_strata_beyond_number_are_not_counted_one_by_one(folder: Path) -> None:
    """Twenty covariates of a hundred levels have 1e40 combinations."""
    config = json.loads((folder / CONFIG).read_text())
    spread = json.loads((folder / "covariates.json").read_text())
    many = [
        {"name": f"x{i}", "kind": "categorical", "levels": [str(k) for k in range(100)]}
        for i in range(20)
    ]
    spread["schema"]["covariates"] = many
    for stratum in spread["strata"]:
        stratum.update(levels=["0"] * 20, margins=[], rank_correlations=[])
    data = json.dumps(spread).encode()
    (folder / "covariates.json").write_bytes(data)
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    config["files"]["covariates.json"] = entry
    (folder / CONFIG).write_text(json.dumps(config))
    assert "its strata do not fit its schema" in refused(lambda: describe(folder))


EVIL = "x](javascript:alert(1)) | <script>alert(1)</script> `rm -rf` **b**\n# title"


def test_text_of_a_card_does_nothing_on_a_page(folder: Path) -> None:
    description = describe(folder)
    card = {"name": EVIL, "description": EVIL, "license": EVIL, "attribution": EVIL}
    card["tries"] = [{"tried": EVIL, "found": EVIL}, {}, 7]
    first = replace(description.schema.covariates[1], description=EVIL.replace("\n", " "), unit="|")
    schema = replace(description.schema, covariates=(first,))
    shown = replace(description, card=card, schema=schema)
    for page in (render_card(shown), readme(shown, "bundle; rm -rf ~")):
        assert "<script" not in page.replace("\\<script", "")
        assert "](java" not in page.replace("\\](java", "")
        assert "\n# title" not in page
    assert "What was tried" not in render_card(replace(shown, card={**card, "tries": EVIL}))
    assert "cd 'bundle; rm -rf ~'" in readme(shown, "bundle; rm -rf ~")


@pytest.mark.parametrize("text", ["$import os", " $__import__('os')", "@device", "%file.json::x"])
def test_a_model_cannot_make_an_exported_bundle_run_code(folder: Path, text: str) -> None:
    description = describe(folder)
    for changed in (
        replace(description, card={"description": text}),
        replace(description, schedule={**description.schedule, "_target_": "os.system"}),
        replace(
            description,
            schema=replace(
                description.schema,
                covariates=(replace(description.schema.covariates[0], levels=("F", text.strip())),),
            ),
        ),
    ):
        with pytest.raises(LdmError, match="MONAI would act upon"):
            inference_config(changed, (2, 4, 6, 4))


def test_an_address_with_credentials_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for uri in ("s3://AKIA:hunter2@bucket/model", "s3://bucket/model?X-Amz-Signature=hunter2"):
        assert "hunter2" not in refused(lambda uri=uri: describe(uri))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:hunter2@127.0.0.1:9")
    assert "hunter2" not in refused(lambda: describe("s3://bucket/model"))


def test_text_is_kept_but_for_what_would_act() -> None:
    assert one_line("a\x1b[31mb\u202e\n c") == "a[31mb c"
    assert markdown("ventricular_volume, mm3 (T1-weighted)") == (
        "ventricular_volume, mm3 (T1-weighted)"
    )
    assert (
        AutoencoderConfig(
            channels=(8, 16), latent_channels=2, num_res_blocks=1, norm_num_groups=4
        ).factor
        == 2
    )
