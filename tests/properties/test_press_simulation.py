"""The press survives random schedules of faults, and the simulator finds faults of our own.

The long version is `python -m tests.faults.simulation --schedules 100000`."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import pyarrow as pa
import pytest

import manifests.ledger.ledger as ledger_module
from manifests.format.layout import part_key
from manifests.ledger import Ledger, ShardPlan
from ray_jobs.generation.driving.events import Decision, End, Outcome
from ray_jobs.generation.driving.policy import Policy
from ray_jobs.generation.worker.doubts import Draws
from tests.faults.simulation import BrokenLaw, Parts, many, simulate


def test_three_thousand_schedules_of_faults_lose_nothing_and_end() -> None:
    faults, steps = many(0, 3_000)
    assert steps > 3_000
    for kind in (
        "worker crashed",
        "worker hung, and woke up later",
        "worker cut off, and worked on",
        "driver killed",
        "two drivers at once",
        "message twice",
        "message out of order",
        "message from a worker given up",
        "put refused",
        "conditional put done, answer lost",
        "machine lost",
        "machine drains",
        "device no numbers",
        "device raises",
        "device hangs",
        "device cannot load",
        "device damaged copy",
        *(f"(a run ended {outcome})" for outcome in Outcome),
    ):
        assert faults[kind] > 100, kind
    assert faults["another writer in between"] > 30
    assert faults["begun shard kept"] > 30
    assert faults["shard handed back"] > 60
    assert faults["(a sick sample, and not two right devices to tell)"] < 30
    assert faults["(compared after the real finalise)"] == 3


def test_a_schedule_is_a_function_of_its_seed() -> None:
    first, second = Counter[str](), Counter[str]()
    steps = [simulate(7, Parts(), faults) for faults in (first, second)]
    assert steps[0] == steps[1]
    assert first == second


# --------------------------------------------------------- faults of ours, which must be found


class ForgetsTheUnharmed(Policy):
    """Shards that a dead worker held are lost."""

    def _put_back(self, shards: list[int]) -> None:
        pass


class RetriesTheCommitted(Policy):
    """A late commit is not looked at when a worker's shards go back."""

    def _put_back(self, shards: list[int]) -> None:
        self._queue.extendleft(reversed(shards))


class AlwaysComplete(Policy):
    """The end is always called a good one."""

    def _end(self) -> End:
        return End(outcome=Outcome.COMPLETE)


class BelievesTheHandedBack(Policy):
    """A shard that was handed back is taken for a finished one."""

    def _handed_back(self, number: int, shard: int) -> list[Decision]:
        return self._committed(number, shard)


class TakesOneDevicesWord(Policy):
    """What a device says is not finite is believed of the sample at once."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._blame.doubt = self._believe  # type: ignore[method-assign]

    def _believe(self, shard: int, draws: Draws, *_: Any, **__: Any) -> bool:
        self._blame._settled[shard] = self._blame.settled(shard) | draws
        return True


class BlamesTheShard(Policy):
    """A shard is given up after its attempts, whatever device they were on."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._blame.is_guilty = (  # type: ignore[method-assign]
            lambda shard, **_: self._blame.attempts(shard) >= self.config.max_attempts
        )


class OverwritesParts(Ledger):
    """A part is put over whatever is there, also over one with more rows."""

    def commit(
        self, shard: int, table: pa.Table, expected_rows: int
    ) -> Literal["committed", "already"]:
        self.store.put(part_key(shard), ledger_module.parquet_bytes(table))
        return "committed"


class KeepsShortParts(Ledger):
    """A part of an earlier, smaller plan is taken for this plan's."""

    def commit(
        self, shard: int, table: pa.Table, expected_rows: int
    ) -> Literal["committed", "already"]:
        data = ledger_module.parquet_bytes(table)
        return "committed" if self.store.put_if_absent(part_key(shard), data) else "already"


class CountsPartsOnly(Ledger):
    """A shard is done where it has a part, whole or not."""

    def done(self, plan: ShardPlan) -> set[int]:
        return {shard for shard in self.parts() if shard < plan.count}


PLANTED = {
    "a policy that forgets shards": Parts(policy=ForgetsTheUnharmed),
    "a policy that hands out what is committed": Parts(policy=RetriesTheCommitted),
    "a policy that calls every end complete": Parts(policy=AlwaysComplete),
    "a policy that believes the handed back": Parts(policy=BelievesTheHandedBack),
    "a policy that takes one device's word": Parts(policy=TakesOneDevicesWord),
    "a policy that blames shards for devices": Parts(policy=BlamesTheShard),
    "a ledger that overwrites parts": Parts(ledger=OverwritesParts),
    "a ledger that keeps short parts": Parts(ledger=KeepsShortParts),
    "a ledger that counts parts only": Parts(ledger=CountsPartsOnly),
    "a worker that commits before it stores": Parts(volumes_first=False),
    "a worker that keeps what nobody looks for": Parts(distrusting=False),
}


@pytest.mark.parametrize("parts", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_fault_is_found(parts: Parts) -> None:
    with pytest.raises(BrokenLaw, match="seed"):
        many(1, 2_000, parts)
