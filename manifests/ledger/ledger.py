"""The ledger of a release being made: its plan, and which shards are done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import pyarrow as pa

from manifests.errors import ReleaseError, StorageError
from manifests.format.json_text import MOST_JSON_BYTES, flatten, json_bytes, parse_json
from manifests.format.layout import PLAN_KEY, TARGET_KEY, part_key, shard_of
from manifests.format.parquet import parquet_bytes, row_count, table_from_bytes
from manifests.format.tombstones import bury, tombstones
from manifests.ledger.plan import ShardPlan
from manifests.storage.base import Entry, Store
from manifests.storage.threads import in_threads

PLAN_FORMAT, PLAN_VERSION = "brainpress-plan", 1
# What no fingerprint covers and yet must not change within a release.
ALWAYS_COMPARED = ("fingerprint", "shard_size")


class Ledger:
    """What a store says about a release being made. It keeps nothing that is not stored.

    Delivery: a shard is done when its part is there with the rows that the plan asks of it. Parts
    are put conditionally, so of several writers of one shard one commits and the others are told.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._rows: dict[tuple[str, str], int] = {}  # by (key, etag)

    def begin(self, document: Mapping[str, Any], *, n: int | None = None) -> dict[str, Any]:
        """Open the release for making: write its plan, or check that it is the same one.

        Args:
            document: what every sample is a function of. "fingerprint" (str) decides; "fields"
                (nested dicts) is what an error names; "shard_size" must not change either.
            n: the number of samples now asked for, kept (never lowered) for `target`.

        Returns:
            The plan as it is stored.

        Raises:
            ReleaseError: the location holds another plan, or something that is no release.
        """
        asked = {"format": PLAN_FORMAT, "version": PLAN_VERSION, **document}
        if "fingerprint" not in asked:
            raise ValueError("a plan needs a fingerprint")
        stored = self.plan()
        if stored is None:
            self._refuse_foreign_files()
            if self.store.put_if_absent(PLAN_KEY, json_bytes(asked)):
                stored = asked
            else:  # another driver began at the same moment
                stored = self.plan() or {}
        for name in ALWAYS_COMPARED:
            if stored.get(name) != asked.get(name):
                raise ReleaseError(self._difference(stored, asked))
        if n is not None:
            self._aim(n)
        return stored

    def plan(self) -> dict[str, Any] | None:
        """The stored plan; None where no release was begun."""
        plan, place = self._json(PLAN_KEY), f"{self.store.uri}/{PLAN_KEY}"
        if plan is not None and plan.get("version") != PLAN_VERSION:
            raise ReleaseError(
                f"{place}: plan version {plan.get('version')!r}, expected"
                f" {PLAN_VERSION}; use the brainpress that began it"
            )
        if plan is not None:
            _whole(plan, "shard_size", place)
            if not isinstance(plan.get("fields", {}), dict):
                raise ReleaseError(f"{place}: fields is no JSON object", exit_code=1)
        return plan

    def target(self) -> int | None:
        """The largest number of samples asked for so far; None where `begin` was not told."""
        document = self._json(TARGET_KEY)
        return None if document is None else _whole(document, "n", f"{self.store.uri}/{TARGET_KEY}")

    def done(self, plan: ShardPlan) -> set[int]:
        """The shards of `plan` that are committed whole: one listing, and few parts' footers.

        A part is short of rows where it was the last of an earlier, smaller plan, so that only
        those need to be looked into; all of them, where it is not known what was asked for.
        """
        parts = {shard: part for shard, part in self.parts().items() if shard < plan.count}
        asked = self._asked()
        if asked is None:
            doubtful = set(parts)
        else:
            doubtful = parts.keys() & {n // plan.shard_size for n in asked if n % plan.shard_size}
        rows = in_threads(self._count_rows, (parts[shard] for shard in doubtful))
        counted = zip(doubtful, rows, strict=True)
        short = {shard for shard, found in counted if found < plan.expected_rows(shard)}
        return parts.keys() - short

    def pending(self, plan: ShardPlan) -> list[int]:
        """The shards of `plan` still to be made, in order."""
        done = self.done(plan)
        return [shard for shard in range(plan.count) if shard not in done]

    def parts(self) -> dict[int, Entry]:
        """The parts that are there, by shard and in order."""
        found = ((shard_of(entry.key), entry) for entry in self.store.list("manifest/part-"))
        return dict(sorted((shard, entry) for shard, entry in found if shard is not None))

    def commit(
        self, shard: int, table: pa.Table, expected_rows: int
    ) -> Literal["committed", "already"]:
        """Put a shard's rows in the ledger, after its volumes are stored.

        A part with fewer rows (of an earlier, smaller plan) is replaced; one with as many or more
        stays.

        Raises:
            ReleaseError: the part that is there tells of other samples than `table`, which means
                that two writers made the same samples differently.
        """
        check_part(table, shard, expected_rows)
        key, data = part_key(shard), parquet_bytes(table)
        if self.store.put_if_absent(key, data):
            return "committed"
        while True:
            stored, etag = self.store.get_with_etag(key)
            there = table_from_bytes(stored, f"{self.store.uri}/{key}")
            if there.num_rows >= expected_rows:
                self._check_same(there.slice(0, expected_rows), table, key)
                return "already"
            # What was withdrawn meanwhile stays so.
            whole = bury(table, tombstones(there))
            if self.store.replace(key, parquet_bytes(whole), etag=etag):
                return "committed"

    def settle(self, n: int) -> None:
        """All `n` samples have their rows: no part is short because of a smaller plan any more."""
        self._change_target(
            lambda target: (
                target | {"asked": sorted({n, *(m for m in _asked(target) or () if m > n)})}
            )
        )

    def distrust(self) -> None:
        """A part was short that should not be: look into every part from now on."""
        self._change_target(lambda target: {"n": target["n"]})

    def _aim(self, n: int) -> None:
        """Keep what is asked for now, before any part of it can be written.

        "n" is the most that was; "asked" all of it since the last time a release was finished.
        """
        known = not any(self.store.list("manifest/part-"))
        if not self.store.put_if_absent(
            TARGET_KEY, json_bytes({"n": n, "asked": [n]} if known else {"n": n})
        ):
            self._change_target(
                lambda target: {
                    "n": max(n, target["n"]),
                    **({"asked": sorted({n, *asked})} if (asked := _asked(target)) else {}),
                }
            )

    def _change_target(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Compare and swap; nothing where there is no target."""
        place = f"{self.store.uri}/{TARGET_KEY}"
        while True:
            try:
                stored, etag = self.store.get_with_etag(TARGET_KEY, most=MOST_JSON_BYTES)
            except KeyError:
                return
            target = parse_json(stored, place)
            _whole(target, "n", place)
            changed = json_bytes(change(target))
            if changed == stored or self.store.replace(TARGET_KEY, changed, etag=etag):
                return

    def _asked(self) -> list[int] | None:
        document = self._json(TARGET_KEY)
        return None if document is None else _asked(document)

    def _count_rows(self, entry: Entry) -> int:
        known = (entry.key, entry.etag)
        if known not in self._rows:
            try:
                self._rows[known] = row_count(self.store, entry.key)
            except StorageError:  # which says nothing about the part
                raise
            except ReleaseError as error:
                raise ReleaseError(f"{error}; remove it and go on", error.exit_code) from error
        return self._rows[known]

    def _check_same(self, there: pa.Table, made: pa.Table, key: str) -> None:
        made = bury(made, tombstones(there))
        for name in ("index", "sha256"):
            pairs = zip(there[name].to_pylist(), made[name].to_pylist(), strict=True)
            for position, (found, expected) in enumerate(pairs):
                if found != expected:
                    raise ReleaseError(
                        f"{self.store.uri}/{key}: sample {made['index'][position]} was committed by"
                        f" another writer with {name} {found}, and made here with {expected};"
                        " run one driver at a time on machines of one kind, then `verify`",
                        exit_code=1,
                    )

    def _refuse_foreign_files(self) -> None:
        for entry in self.store.list():
            if entry.key.startswith("."):
                continue
            if self.plan() is not None:  # begun meanwhile
                return
            raise ReleaseError(
                f"{self.store.uri} holds {entry.key} and no release begun here;"
                " choose an empty or new place"
            )

    def _difference(self, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
        before, now = (flatten({**d, **d.get("fields", {})}) for d in (stored, asked))
        names = [
            name
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name) and not name.startswith(("fields", "fingerprint"))
        ]
        shown = [f"{n} is {before.get(n)!r} there and {now.get(n)!r} now" for n in names]
        what = "; ".join(shown) or (
            f"fingerprint is {stored.get('fingerprint')} there and {asked.get('fingerprint')} now"
        )
        return (
            f"{self.store.uri} holds another release: {what}."
            " Use the same options to go on with it, or another place for a new one"
        )

    def _json(self, key: str) -> dict[str, Any] | None:
        try:
            data = self.store.get(key, most=MOST_JSON_BYTES)
        except KeyError:
            return None
        return parse_json(data, f"{self.store.uri}/{key}")


def _whole(document: Mapping[str, Any], name: str, place: str) -> int:
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ReleaseError(f"{place}: {name} is {ascii(value)[:60]}, expected 1 or more", 1)
    return value


def _asked(target: Mapping[str, Any]) -> list[int] | None:
    """Every number of samples asked for; None where the target does not tell."""
    asked = target.get("asked")
    if not isinstance(asked, list) or not all(type(n) is int and n > 0 for n in asked):
        return None
    return asked


def check_part(table: pa.Table, shard: int, expected_rows: int) -> None:
    """Assert that a part has the rows asked of it: consecutive samples, in order."""
    indices = table["index"].to_pylist()
    first = indices[0] if indices else 0
    if indices != list(range(first, first + expected_rows)):
        raise ValueError(f"shard {shard}: not {expected_rows} consecutive rows: {indices[:8]} ...")
