"""The job of `brainpress segment`: what is missing is made on Ray, then the release is closed."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ldm.contrasts import T1W
from ldm.errors import LdmError
from ldm.loading import describe
from manifests.changes.conditional import check_conditional_writes
from manifests.errors import ReleaseError
from manifests.format.segmentation.about import Segmentation
from manifests.ledger.segmentation.closing import Closed, close_segmentation, drop_segmentation
from manifests.ledger.segmentation.progress import Block, is_by, parts_there, pending, t1w_images
from manifests.numbers import counted, human_bytes, human_seconds
from manifests.publish.checks import refuse_unfinished
from manifests.query.release import Release
from manifests.storage import open_to_write
from manifests.storage.base import Store
from manifests.terminal import told_end
from manifests.text import one_line
from manifests.volumes.images import fetch, images_of
from ray_jobs import cluster
from ray_jobs.errors import JobError
from ray_jobs.generation.finish import software_version
from ray_jobs.progress import watched
from ray_jobs.room import Machine, room_for
from ray_jobs.segmentation.tool import LOADER, Tool, load_tool, told_by
from ray_jobs.segmentation.worker import label_map
from ray_jobs.setup import set_up

COMPLETE, INCOMPLETE = 0, 1
PATIENCE_SECONDS = 300.0  # for an S3 server that is away
TRIED = 3  # images of which one has to be a brain, before the others are touched
SHOWN = 5


def segment(
    uri: str,
    *,
    endpoint_url: str | None = None,
    workers: int | None = None,
    replace: bool = False,
    repair: bool = False,
    dry_run: bool = False,
    loader: str = LOADER,
) -> int:
    """Give every T1w image of a finished release its label map, where it has none.

    Args:
        workers: how many at once; one a CPU where None.
        replace: make all anew where another tool drew those that are there.
        repair: read every map too, and make anew those that are damaged.
        dry_run: only say how many are missing.

    Returns:
        0 where every image has its map, 1 where some could not be segmented.

    Raises:
        JobError, LdmError, ReleaseError: in one line, what is wrong with the release, the tool,
            the storage or the cluster.
    """
    started = time.monotonic()
    store = open_to_write(uri, endpoint_url=endpoint_url).patient(PATIENCE_SECONDS)
    release = Release.at(store)
    refuse_unfinished(release, "segment")
    images = t1w_images(release).num_rows
    tool = load_tool(loader)
    told = told_by(tool)
    _refuse_another_tool(release, told, replace=replace)
    before = release.document.segmentation
    drops = before is not None and not is_by(release, told)
    blocks = pending(release, told, read=repair)
    left = sum(len(block.images) for block in blocks)
    if dry_run:
        print(f"{left:,} of {images:,} images would be segmented, by {told.tool}")
        return COMPLETE
    if not blocks and not parts_there(store) and is_by(release, told):
        print(f"nothing left to do: the images of {store.uri} are segmented")
        return _told_refused(store, _refused(release), images)
    check_conditional_writes(store)
    store.check_writable()
    if blocks and left == images:
        _refuse_what_is_no_brain(release, tool, blocks)
    if drops:
        drop_segmentation(store)
    lost = _segment_all(store, told, loader, blocks, workers)
    if lost and (lost := _still_there(store, lost)):
        shown = "; ".join(f"{key}: {why}" for key, why in lost[:SHOWN])
        raise JobError(
            f"{counted(len(lost), 'image')} of {store.uri} cannot be read ({one_line(shown)});"
            " `brainpress generate --repair` makes them again, then run the same command again",
            exit_code=INCOMPLETE,
        )
    done = close_segmentation(store, told, software_version=software_version())
    return _tell(store, done, made=left, seconds=time.monotonic() - started)


def refuse_no_brains(model: str) -> None:
    """Raise, before any image is made, where a model draws none that can be segmented.

    Raises:
        JobError: it draws no T1w images, or whole heads. LdmError: no model there.
    """
    if model == "monai":
        raise JobError(
            "--segment: label maps are drawn of brains cut out of their heads, and the weights"
            ' that the paper published ("monai") draw whole heads'
        )
    suffixes = describe(model).suffixes
    if T1W not in suffixes:
        raise JobError(
            f"--segment: label maps are drawn of {T1W} images alone, and the model draws"
            f" {' and '.join(suffixes)}"
        )


def _refuse_another_tool(release: Release, told: Segmentation, *, replace: bool) -> None:
    before = release.document.segmentation
    if before is None or is_by(release, told) or replace:
        return
    raise JobError(
        f"{release.store.uri} has label maps by {before.tool} ({before.fingerprint[:12]}), and"
        f" this brainpress has {told.tool} ({told.fingerprint[:12]}); --replace makes all anew"
    )


def _refuse_what_is_no_brain(release: Release, tool: Tool, blocks: Sequence[Block]) -> None:
    """Raise where none of the first images is a brain cut out of its head; nothing is written."""
    first = [image["index"] for image in blocks[0].images[:TRIED]]
    rows = release.query(f"index <= {first[-1]} and status = 'ok'")
    why = ""
    for image in images_of(rows, release.store.uri)[:TRIED]:
        try:
            label_map(tool, fetch(release.store, image))
            return
        except LdmError as error:
            why = why or str(error)
        except (KeyError, ReleaseError):  # told of by whoever segments it
            return
    raise JobError(
        f"{release.store.uri}: label maps are drawn of brains cut out of their heads, and its first"
        f" images are none ({why})"
    )


def _segment_all(
    store: Store, told: Segmentation, loader: str, blocks: Sequence[Block], workers: int | None
) -> list[tuple[str, str]]:
    """Segment the images of the blocks; those that are lost or damaged, and why."""
    if not blocks:
        return []
    with (
        cluster.session() as found,
        cluster.failures_told("segmenting"),
        set_up(store.uri, found) as setup,
    ):
        import ray.data

        from ray_jobs.segmentation.worker import Segmenter

        cluster.quiet_ray_data()
        room = room_for(1, Machine(1), found, asked="segment")
        count = min(workers or room.slots(Machine(1)), len(blocks))
        items: list[dict[str, Any]] = [asdict(block) for block in blocks]
        dataset: Any = ray.data.from_items(items, override_num_blocks=len(items)).map(
            setup.actor(Segmenter),
            fn_constructor_args=(store, told, loader),
            compute=ray.data.ActorPoolStrategy(size=count),
            num_cpus=1,
        )
        lost: list[tuple[str, str]] = []
        total = sum(len(block.images) for block in blocks)
        for done in watched(dataset.iter_rows(), total, "segmenting", of="images"):
            lost += [(str(key), str(why)) for key, why in done["lost"]]
        return sorted(lost)


def _still_there(store: Store, lost: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those that the release still has: an image withdrawn meanwhile is not lost."""
    now = set(t1w_images(Release.at(store))["path"].to_pylist())
    return [(key, why) for key, why in lost if key in now]


def _tell(store: Store, done: Closed, *, made: int, seconds: float) -> int:
    took = f", {made:,} of them made now in {human_seconds(seconds)}" if made else ""
    told = f"{counted(done.maps, 'label map')}{took}, {human_bytes(done.map_bytes)}: {store.uri}"
    told += "; publish makes a version with them" if done.published else ""
    place = shlex.join(store.words)
    where = {
        "look": f"brainpress view {place}",
        "query it": f'brainpress query {place} --where "volume_left_hippocampus > 4000"',
    }
    print(told_end(told, where, ("publish", *store.words)))
    return _told_refused(store, done.refused, done.maps + len(done.refused))


def _refused(release: Release) -> dict[str, str]:
    rows = release.regions(columns=["participant_id", "error"]).to_pylist()
    return {row["participant_id"]: row["error"] for row in rows if row["error"]}


def _told_refused(store: Store, refused: dict[str, str], images: int) -> int:
    """The exit code, and a line where images could not be segmented."""
    if not refused:
        return COMPLETE
    shown = "; ".join(f"{name}: {why}" for name, why in list(refused.items())[:SHOWN])
    print(
        f"brainpress segment: {len(refused):,} of {images:,} images of {store.uri} could not be"
        f" segmented and have no label map ({one_line(shown)})",
        file=sys.stderr,
    )
    return INCOMPLETE
