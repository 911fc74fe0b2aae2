"""The devices of a run: how often each has failed in a row, and which are left out for a while."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from ray_jobs.generation.worker.environment import Place

FIRST_REST_SECONDS = 2.0
LONGEST_REST_SECONDS = 1800.0
# Of a device that failed once, where others have not been tried.
EXPLORING_SECONDS = 10.0


def rest_seconds(failures: int) -> float:
    """For how long a device is left out after so many failures in a row: not at all after the
    first, then 2 s, and twice as long each time, up to half an hour."""
    if failures < 2:
        return 0.0
    longest = 16  # doublings; beyond, a float would not hold them
    return min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2.0 ** min(failures - 2, longest))


class Places:
    """Counts failures by device; a shard that a device commits wipes its slate.

    Args:
        hopeless_after: failures in a row after which nothing is expected of a device any more.

    Attributes:
        there: how many the cluster has.
        resting: those that are left out for a while.
    """

    def __init__(self, hopeless_after: int, *, there: int) -> None:
        self._hopeless_after = hopeless_after
        self.there = there
        self._commits: dict[Place, int] = {}
        self._failures: dict[Place, list[int | None]] = {}  # in a row: over which shard
        self._fatal: dict[str, str] = {}  # machine -> why no worker can load there
        self.resting: set[Place] = set()

    def seen(self, place: Place) -> str:
        """A worker was placed there; why the device has to be left out from now on, empty where it
        has not."""
        if place in self._failures:
            return ""
        self._failures[place] = []
        if (reason := self._fatal.get(place.node, "")) and place not in self.resting:
            self._condemn(place)
        return reason

    def loaded(self, place: Place) -> None:
        """A worker loaded its model there."""
        self._fatal.pop(place.node, None)

    def failed(self, place: Place, shard: int | None) -> None:
        """A worker failed there, over this shard or over none."""
        self._failures.setdefault(place, []).append(shard)
        if self.rest_of(place):
            self.resting.add(place)

    def rest_of(self, place: Place) -> float:
        """For how many seconds it is left out now, after its last failure."""
        seconds = rest_seconds(self.count(place))
        return max(seconds, EXPLORING_SECONDS) if self.unexplored else seconds

    def fatal(self, place: Place, reason: str) -> list[Place]:
        """No worker can load its model on the machine; all devices of it that are known."""
        self._fatal[place.node] = reason
        self._failures.setdefault(place, []).append(None)
        condemned = [other for other in self._failures if other.node == place.node]
        for other in condemned:
            self._condemn(other)
        return condemned

    def worked(self, place: Place) -> None:
        """A shard was committed from there."""
        if place in self._failures:
            self._failures[place] = []
        self._commits[place] = self.commits(place) + 1
        self.resting.discard(place)

    def rested(self, place: Place) -> None:
        """Its time is over."""
        self.resting.discard(place)

    def gone(self, node: str) -> None:
        """The machine is no more."""
        self._fatal.pop(node, None)
        for place in [place for place in self._failures if place.node == node]:
            del self._failures[place]
            self.resting.discard(place)

    def forgive(self, shard: int) -> None:
        """The shard itself was to blame wherever it failed."""
        for place, failures in self._failures.items():
            self._failures[place] = [other for other in failures if other != shard]

    def commits(self, place: Place) -> int:
        """Shards committed from there."""
        return self._commits.get(place, 0)

    @property
    def unexplored(self) -> bool:
        """Whether the cluster has devices on which nothing was tried yet."""
        return self.there > len(self._failures)

    def count(self, place: Place) -> int:
        """Its failures in a row."""
        return len(self._failures.get(place, ()))

    def others(self, than: AbstractSet[Place]) -> set[Place]:
        """The devices of which something is expected, besides these."""
        return {place for place in self._failures if not self.nothing_expected(place)} - than

    @property
    def single(self) -> bool:
        """Whether only one is known."""
        return len(self._failures) < 2

    @property
    def known(self) -> set[Place]:
        """Those on which a worker was placed."""
        return set(self._failures)

    def nothing_expected(self, *places: Place, more: int = 0) -> bool:
        """Whether each of these failed so often that nothing is expected of it.

        Args:
            more: how much oftener than that.
        """
        return all(self.count(place) >= self._hopeless_after + more for place in places)

    def _condemn(self, place: Place) -> None:
        failures = self._failures[place]
        failures += [None] * max(0, self._hopeless_after - len(failures))
        self.resting.add(place)
