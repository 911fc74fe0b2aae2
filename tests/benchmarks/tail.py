"""How busy GPUs of unequal speed are kept to the end of a run: the real `Policy`, and devices that
draw batch by batch, from two shards in turn as a worker does.

    python -m tests.benchmarks.tail
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

from ray_jobs.generation.driving.events import (
    Decision,
    End,
    HandBack,
    HandedBack,
    Load,
    Retire,
    ShardCommitted,
    Start,
    Submit,
    WorkerPlaced,
    WorkerReady,
)
from ray_jobs.generation.driving.policy import Policy, PolicyConfig
from ray_jobs.generation.worker.environment import Place

SHARD, BATCH, IN_HAND = 64, 8, 2
PAPER_SECONDS = 1.0  # a volume of the paper's network on an A100, or so
CLUSTERS = {
    "8 alike": [1.0] * 8,
    "4, and 4 half as fast": [1.0] * 4 + [0.5] * 4,
    "4, and 4 a quarter as fast": [1.0] * 4 + [0.25] * 4,
    "7, and 1 a quarter as fast": [1.0] * 7 + [0.25],
}
VOLUMES = (1_000, 2_000, 10_000, 100_000)


@dataclass
class Device:
    """One GPU: its speed, and the volumes left of the shards in its worker's hands."""

    speed: float
    held: dict[int, int] = field(default_factory=dict)  # shard -> volumes to draw
    leaves: set[int] = field(default_factory=set)
    drawing: bool = False
    drawn_seconds: float = 0.0


def utilisation(speeds: list[float], n: int) -> tuple[float, float]:
    """The share of its time that a device draws, and the seconds of the run over the least that
    these devices can take."""
    sizes = [min(SHARD, n - first) for first in range(0, n, SHARD)]
    devices = [Device(speed) for speed in speeds]
    count = len(devices)
    policy = Policy(
        range(len(sizes)), PolicyConfig(workers=count, room=count, devices=count, in_hand=IN_HAND)
    )
    now, ended, order = 0.0, False, 0
    events: list[tuple[float, int, int, int]] = []  # when, order, device, shard

    def draw(number: int) -> None:
        """The next batch of a device, of its shards in turn."""
        nonlocal order
        device = devices[number]
        if device.drawing or not device.held:
            return
        shard, left = next(iter(device.held.items()))
        seconds = PAPER_SECONDS * BATCH / device.speed
        device.drawing, order = True, order + 1
        device.drawn_seconds += seconds
        del device.held[shard]
        device.held[shard] = left - BATCH
        heapq.heappush(events, (now + seconds, order, number, shard))

    def obey(decisions: list[Decision]) -> None:
        nonlocal ended
        for decision in decisions:
            match decision:
                case Start(worker=worker):
                    place = Place(node=f"n{worker}", host=f"host{worker}", device="GPU 0")
                    obey(policy.on(WorkerPlaced(worker=worker, place=place)))
                case Load(worker=worker):
                    obey(policy.on(WorkerReady(worker=worker)))
                case Submit(worker=worker, shard=shard):
                    devices[worker].held[shard] = sizes[shard]
                    draw(worker)
                case HandBack(worker=worker, shard=shard):
                    devices[worker].leaves.add(shard)
                case Retire(worker=worker):
                    assert not devices[worker].held
                case End():
                    ended = True

    obey(policy.begin())
    while not ended:
        now, _, number, shard = heapq.heappop(events)
        device = devices[number]
        device.drawing = False
        if device.held[shard] <= 0:
            del device.held[shard]
            obey(policy.on(ShardCommitted(worker=number, shard=shard)))
        elif shard in device.leaves:
            sizes[shard] = device.held.pop(shard)
            obey(policy.on(HandedBack(worker=number, shard=shard)))
        draw(number)
    least = PAPER_SECONDS * math.ceil(n / BATCH) * BATCH / sum(speeds)
    return sum(device.drawn_seconds for device in devices) / (count * now), now / least


def main() -> None:
    print(f"{'GPUs':<28}" + "".join(f"{n:>18,}" for n in VOLUMES) + "  volumes")
    for name, speeds in CLUSTERS.items():
        found = [utilisation(speeds, n) for n in VOLUMES]
        cells = (f"{100 * busy:.1f} %, {times:.3f} x" for busy, times in found)
        print(f"{name:<28}" + "".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    main()
