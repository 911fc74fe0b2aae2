"""A release's folder on a cluster: only machines that share it print into it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from manifests.errors import ReleaseError
from manifests.numbers import counted
from manifests.storage.base import Store
from ray_jobs.reach import Note, Reached

NODE = "ray.io/node-id"  # Ray's own label of a machine


class SharedFolder:
    """What is known of the machines that are to print into a folder.

    Every worker is asked before it draws, whenever it joins: it reads what the driver left in the
    folder, and leaves a note that the driver reads. Machines that do not share it are left out.

    Args:
        store: the folder, as the driver's machine sees it.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._left: Note | None = None
        self._out: dict[str, str] = {}  # node -> host

    @property
    def note(self) -> Note:
        """What the driver leaves in the folder, there for whoever is started now: what is old is
        swept by other runs."""
        if self._left is None:
            self._left = Note.left(self.store)
        else:
            self._left.leave(self.store)
        return self._left

    @property
    def left_out(self) -> Collection[str]:
        """The nodes that do not share it."""
        return self._out.keys()

    def selector(self) -> dict[str, Any]:
        """What keeps an actor off the machines that are left out, as an option of it."""
        if not self._out:
            return {}
        return {"label_selector": {NODE: f"!in({','.join(sorted(self._out))})"}}

    def why_not(self, reached: Reached) -> str:
        """Why a worker's machine does not share the folder; empty where it does."""
        if reached.why_not or reached.note is None:
            return reached.why_not
        try:
            seen = reached.note.is_read(self.store)
            self.store.delete(reached.note.key)
        except ReleaseError as error:
            return str(error)
        return "" if seen else "what it writes there is not seen on the driver's"

    def leave_out(self, node: str, reached: Reached, why: str) -> str:
        """Leave a machine out; the line that says so, empty where it was said before."""
        if node in self._out:
            return ""
        self._out[node] = reached.host
        return (
            f"machine {reached.host} (node {node[:8]}) is left out: it does not share the folder "
            f"{self.store.uri} ({why})"
        )

    def nobody(self, machines: Iterable[Mapping[str, Any]], reserve: Mapping[str, Any]) -> str:
        """Why nobody can print, where every machine with room for a worker is left out; else empty.

        Args:
            machines: as `ray.nodes` tells of them.
            reserve: what a worker reserves.
        """
        wanted = {"CPU": reserve["num_cpus"], "GPU": reserve["num_gpus"]}
        for machine in machines:
            has = machine["Resources"]
            fits = all(has.get(name, 0) >= least for name, least in wanted.items())
            if machine["Alive"] and fits and machine["NodeID"] not in self._out:
                return ""
        return (
            f"--out {self.store.uri}: of {counted(len(self._out), 'machine')} that joined "
            f"({', '.join(sorted(set(self._out.values())))}) none shares this folder with the "
            "driver's: give one that all of them mount (NFS, Lustre), or an s3:// URI, or use one "
            "machine (RAY_ADDRESS=local)"
        )

    def close(self) -> None:
        """Take the driver's note away; one that cannot be is swept later."""
        if self._left is not None:
            with suppress(ReleaseError):
                self.store.delete(self._left.key)
            self._left = None
