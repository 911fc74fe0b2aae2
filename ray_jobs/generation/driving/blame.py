"""Who is to blame for a failure: the shard, one of its samples, or the device that worked on it."""

from __future__ import annotations

from ray_jobs.generation.driving.places import Places
from ray_jobs.generation.worker.doubts import Draws
from ray_jobs.generation.worker.environment import Place


def most_attempts(max_attempts: int) -> int:
    """Tries of a shard after which it is given up, whatever is known of the devices."""
    return max(6, 2 * max_attempts)


class Blame:
    """What is known of the shards that failed.

    A shard is blamed, and a draw believed to fail, where two devices agree. Where there is only one
    that is not left out, two of its processes must.

    Args:
        places: the devices.
        max_attempts: tries of a shard before it is blamed.
    """

    def __init__(self, places: Places, max_attempts: int) -> None:
        self._places, self._max_attempts = places, max_attempts
        self._failed_on: dict[int, list[Place]] = {}
        self._avoided: dict[int, set[Place]] = {}
        self._opinions: dict[int, dict[tuple[int, int], dict[tuple[Place, int], int]]] = {}
        self._settled: dict[int, Draws] = {}
        self._hopeless: set[Place] = set()

    def attempts(self, shard: int) -> int:
        """Tries that count against the shard."""
        return len(self._failed_on.get(shard, ()))

    def settled(self, shard: int) -> Draws:
        """Draws of the shard that fail, on whatever device."""
        return self._settled.get(shard, frozenset())

    def avoids(self, shard: int, place: Place) -> bool:
        """Whether the shard has failed on this device already."""
        return place in self._avoided.get(shard, ())

    def avoids_all(self, shard: int, places: set[Place]) -> bool:
        """Whether it has failed on every one of these devices."""
        return places <= self._avoided.get(shard, set())

    def put_off(self, shard: int, place: Place) -> None:
        """The shard failed there, and nobody knows yet who is to blame."""
        self._avoided.setdefault(shard, set()).add(place)

    def count(self, shard: int, place: Place) -> None:
        """A try there counts against the shard."""
        self._failed_on.setdefault(shard, []).append(place)
        self.put_off(shard, place)

    def is_guilty(self, shard: int, *, more_to_come: bool) -> bool:
        """Whether the shard has failed often enough, and on devices enough, to be blamed: on
        two, one of which has committed others, or wherever it can be tried.

        Args:
            more_to_come: whether workers still wait for a device.
        """
        tries, where = self.attempts(shard), set(self._failed_on.get(shard, ()))
        if tries < self._max_attempts:
            return False
        trusted = len(where) > 1 and any(map(self._places.commits, where))
        nowhere_else = not more_to_come and not self._places.others(where)
        return trusted or nowhere_else or tries >= most_attempts(self._max_attempts)

    def on_two(self, shard: int) -> bool:
        """Whether it has failed on two devices."""
        return len(set(self._failed_on.get(shard, ()))) > 1

    def doubt(
        self,
        shard: int,
        draws: Draws,
        place: Place,
        worker: int,
        *,
        whole: bool,
        more_to_come: bool,
    ) -> bool:
        """A device found draws wanting; whether all of them are settled by that.

        They are where two devices agree, or four processes of one that made other volumes besides
        (two, where there is no other device). One that made nothing else is believed only where
        nothing is expected of others and it has committed a shard in between, or of a single sample
        where there are none.

        Args:
            whole: whether it made nothing else.
            more_to_come: whether a device may be had that was not tried yet.
        """
        opinions, commits = self._opinions.setdefault(shard, {}), self._places.commits(place)
        for draw in draws:
            opinions.setdefault(draw, {})[place, worker] = commits
        only = self._places.single and not self._places.unexplored
        one = only and len({index for index, _ in draws}) == 1
        alone = not self._places.others({place})
        enough = 2 if only and not more_to_come else 4

        def agree(told: dict[tuple[Place, int], int]) -> bool:
            own = [when for (where, _), when in told.items() if where == place]
            trusted = not whole or one or (alone and commits > min(own))
            return len(own) < len(told) or (trusted and len(own) >= enough)

        agreed = frozenset(draw for draw in draws if agree(opinions[draw]))
        self._settled[shard] = self.settled(shard) | agreed
        return agreed == draws

    def despair(self, place: Place) -> bool:
        """A device says that every shard would end the same way; whether that is believed: of
        two devices, or of the only one."""
        self._hopeless.add(place)
        return len(self._hopeless) > 1 or not self._places.others(self._hopeless)

    def hope(self) -> None:
        """A shard was committed."""
        self._hopeless.clear()

    def clear(self, shard: int) -> None:
        """It may be tried anywhere."""
        self._avoided.pop(shard, None)
