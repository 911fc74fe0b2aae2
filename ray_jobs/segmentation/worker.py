"""The actor that segments blocks of a release's images: maps first, then the block's part."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np

from ldm.errors import LdmError
from ldm.volumes.nifti import from_bytes
from manifests.digests import sha256
from manifests.errors import ReleaseError, StorageError
from manifests.format.segmentation.about import Segmentation
from manifests.format.segmentation.layout import map_path
from manifests.ledger.segmentation.progress import commit
from manifests.storage.base import Store
from manifests.volumes.images import Image, fetch
from ray_jobs.errors import JobError
from ray_jobs.segmentation.tool import Tool, load_tool

LABEL_INTENT = "label"  # NIfTI's word for voxels that are numbers of things
LOST = "it is missing"


class Segmenter:
    """Segments a block of images a call, and commits it.

    Args:
        store: the release's.
        told: what the release is to tell of the maps.
        loader: of the tool, `module:function`.
    """

    def __init__(self, store: Store, told: Segmentation, loader: str) -> None:
        import torch

        torch.set_num_threads(1)
        self._store, self._told, self._tool = store, told, load_tool(loader)
        if self._tool.fingerprint != told.fingerprint:
            raise JobError(
                f"a worker has another {told.tool}: SHA-256 {self._tool.fingerprint[:12]},"
                f" expected {told.fingerprint[:12]}; install the same brainpress on every machine",
                exit_code=1,
            )

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """Segment the images of `block`; of each that is lost or damaged, why, in `lost`."""
        rows, lost = [], {}
        for image in block["images"]:
            try:
                data = fetch(self._store, Image(image["path"], image["bytes"], image["sha256"]))
            except KeyError:
                lost[image["path"]] = LOST
            except StorageError:
                raise
            except ReleaseError as error:
                lost[image["path"]] = str(error)
            else:
                rows.append(self._row(image, data))
        if rows:
            commit(self._store, block["number"], rows, self._told)
        return {"images": len(block["images"]), "lost": list(lost.items())}

    def _row(self, image: dict[str, Any], data: bytes) -> dict[str, Any]:
        """Segment an image, store its map; the row of the table."""
        row = {
            "index": image["index"],
            "participant_id": image["participant_id"],
            "image_sha256": image["sha256"],
            "path": None,
            "bytes": None,
            "sha256": None,
            "error": None,
        }
        try:
            made, volumes = label_map(self._tool, data)
        except LdmError as error:
            return {**row, "error": str(error)}
        path = map_path(image["index"])
        self._store.put(path, made)
        figures = {region.column: volumes[region.key] for region in self._told.regions}
        return {**row, "path": path, "bytes": len(made), "sha256": sha256(made), **figures}


def label_map(tool: Tool, data: bytes) -> tuple[bytes, dict[str, float]]:
    """The label map of an image as a `.nii.gz` file, and the volumes in mm3 by region.

    The same image and tool give the same bytes.

    Args:
        data: the image's `.nii.gz` file.

    Raises:
        LdmError: the image cannot be one of a brain cut out of its head.
    """
    image = from_bytes(data)
    volume = np.asarray(image.dataobj, dtype=np.float32)
    found = tool.segment(volume, image.affine)
    return _file(found.labels_on(volume.shape, image.affine), image), found.volumes()


def _file(labels: np.ndarray, image: Any) -> bytes:
    """Numbers (X, Y, Z) uint8 as a file whose place in the world is the image's."""
    from isal import igzip

    header = image.header
    made = nib.Nifti1Image(np.asarray(labels, dtype=np.uint8), None)
    own: Any = made.header
    own.set_xyzt_units(*header.get_xyzt_units())
    own.set_sform(header.get_sform(), code=int(header["sform_code"]))
    own.set_qform(header.get_qform(), code=int(header["qform_code"]))
    own.set_intent(LABEL_INTENT, name="regions")
    own.set_slope_inter(1, 0)
    return bytes(igzip.compress(made.to_bytes(), compresslevel=3, mtime=0))
