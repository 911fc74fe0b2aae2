"""Several commands change one release at once, and die: random schedules of the real protocol.

    python -m tests.faults.contenders --schedules 100000

A schedule is a function of its seed. Two to four commands (two that withdraw, one that publishes
and lets strangers in, one that shuts them out again, one that makes the release larger, one that
changes a word and later changes it back) and a reader run against one store in memory; before each
of their requests any other may run, and they may die, freeze until long after their lease was taken
over, be refused, or lose an answer. Whoever was refused runs his command again. The lease, the
journal and the readers' view are the real ones of `manifests.changes`, the order of marking and
opening that of `manifests.publish.gate`; the release that they change is small enough for 100,000
schedules: its manifest is a line of JSON, its images a few bytes.

The laws: what a command said it did is in the end's release; all files of it are those that its
release.json names; no image is missing and none of a withdrawn sample is left; nothing is left
staged; strangers are let in by no release that says that it is closed; and at every moment a reader
found the old release or the new one, whole, or was told that it had changed.
"""

from __future__ import annotations

import functools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from greenlet import getcurrent, greenlet

from manifests.changes import changing as changing_module
from manifests.changes import journal as journal_module
from manifests.changes import lease as lease_module
from manifests.changes import register as register_module
from manifests.changes.changing import Changing, changing
from manifests.changes.conditional import Conditional
from manifests.changes.holder import Holder
from manifests.changes.register import STAGED
from manifests.changes.seen import Seen, look_at
from manifests.digests import sha256
from manifests.errors import ReleaseError, StorageError
from manifests.format.layout import MANIFEST_KEY, RELEASE_KEY, image_path
from manifests.publish.gate import ShutError, let_in, shut_out
from manifests.storage.base import LEASE_KEY, ChangedError, Entry, Store, is_hidden
from tests.faults.memory_store import MemoryStore
from tests.faults.schedules import run
from tests.faults.simulation import BrokenLaw

MADE, PICTURED = 6, 2  # images that workers have made; samples that the page shows
TRIES = 4  # of a command that was refused
MOST_STEPS = 20_000


class Died(BaseException):
    """The end of a process."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What is simulated, so that a test can plant a fault of ours and see it found."""

    change: Callable[..., Any] = changing
    look: Callable[..., Seen] = look_at
    let_in: Callable[..., bool] = let_in
    shut_out: Callable[..., int] = shut_out
    store: Callable[..., ContendedStore] = field(default_factory=lambda: ContendedStore)


@dataclass(eq=False)
class Command:
    """A process, from its start to its end or its death."""

    number: int
    run: Callable[[], None]
    thread: Any = None
    frozen_until: float = 0.0
    dead: bool = False
    doomed: bool = False
    mortal: bool = True


class Policy:
    """The bucket's policy: whether it lets strangers in. It knows no conditional write."""

    def __init__(self, world: World) -> None:
        self.world, self.lets_in = world, False
        self.opened_late = False  # by one whose lease was taken over before the request arrived

    def open(self) -> bool:
        return self._set(True)

    def close(self) -> bool:
        return self._set(False)

    def _set(self, lets_in: bool) -> bool:
        world, command = self.world, self.world.current
        assert command is not None
        held = world.holder() == command.number
        world.arrive()
        answer_lost = world.store._strike("policy")
        changed, self.lets_in = self.lets_in != lets_in, lets_in
        self.opened_late = lets_in and held and world.holder() != command.number
        world.answer()
        if answer_lost:
            raise StorageError("no answer", 1)
        return changed


class ContendedStore(MemoryStore):
    """A store whose every request waits for its turn."""

    def __init__(self, world: World) -> None:
        super().__init__(world.chance, world.faults)
        self.world = world
        self.written: dict[str, float] = {}

    def put(self, key: str, data: bytes, *, content_type: str | None = None) -> None:
        self.world.arrive()
        super().put(key, data)
        self.world.answer()

    def _conditional(self, key: str, data: bytes, etag: str | None) -> bool:
        self.world.arrive()
        done = super()._conditional(key, data, etag)
        self.world.answer()
        return done

    def get_with_etag(self, key: str, *, most: int | None = None) -> tuple[bytes, str]:
        self.world.arrive()
        return super().get_with_etag(key)

    def look(self, key: str) -> Entry | None:
        self.world.arrive()
        found = super().look(key)
        return found and found._replace(modified=float(int(self.written[key])))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        self.world.arrive()
        yield from [entry for entry in super().list(prefix) if not is_hidden(entry.key)]

    def delete(self, key: str, *, etag: str | None = None) -> None:
        fenced = etag is not None and self.world.removes
        self.world.arrive(late=fenced or key.startswith((f"{STAGED}/", ".")))
        super().delete(key, etag=etag if fenced else None)
        self.world.answer()

    def open(self, key: str) -> BinaryIO:
        raise NotImplementedError

    def _write(self, key: str, data: bytes) -> None:
        super()._write(key, data)
        if self.world.content:
            self.objects[key] = data, sha256(data)
        self.written[key] = self.world.now


class World:
    """One release, and all who change it."""

    def __init__(self, seed: int, parts: Parts, faults: Counter[str]) -> None:
        self.chance = random.Random(seed)
        self.parts, self.faults = parts, faults
        self.now, self.steps = 1e6, 0
        self.trouble = self.chance.choice((0.0, 0.02, 0.05))
        self.calm = not self.trouble
        self.removes = self.chance.random() < 0.7  # whether removals can be conditional
        self.content = self.chance.random() < 0.5  # whether etags are of the content, as S3's are
        self.same_machine = self.chance.random() < 0.5
        self.commands: list[Command] = []
        self.main = getcurrent()
        self.current: Command | None = None
        self.store = parts.store(self)
        self.policy = Policy(self)
        self.gave_up = False
        self.done: list[tuple[str, Any]] = []  # what commands said that they did
        for index in range(MADE):
            self.store._write(image_path(index), b"image %d" % index)
        for key, data in files_of(FIRST).items():
            self.store._write(key, data)

    # -------------------------------------------------------------------------- time

    def run(self) -> None:
        """All at once, with faults; then one more command, without."""
        acts: list[Callable[[], None]] = [
            functools.partial(self._withdraw, 0),
            functools.partial(self._withdraw, self.chance.choice((0, 1))),
            self._publish,
            self._unpublish,
            functools.partial(self._grow, MADE),
            functools.partial(self._reword, "grey"),
        ]
        self.chance.shuffle(acts)
        for act in acts[: self.chance.randint(2, 4)]:
            self._start(functools.partial(self._operate, act))
        reader = self._start(self._read)
        reader.mortal = False
        self.store.trouble = self.trouble
        self._loop()
        self.trouble = self.store.trouble = 0.0
        self._start(functools.partial(self._operate, functools.partial(self._reword, "black")))
        self._start(self._read)
        self._loop()
        if ("reword", "black") not in self.done:
            raise BrokenLaw("the undisturbed last command was refused")
        self._check()

    def _start(self, run: Callable[[], None]) -> Command:
        command = Command(len(self.commands) + 1, run)
        self.commands.append(command)

        def live() -> None:
            try:
                run()
            except Died:
                command.dead = True

        command.thread = greenlet(live)
        return command

    def _loop(self) -> None:
        while living := [one for one in self.commands if not one.thread.dead]:
            awake = [one for one in living if one.frozen_until <= self.now]
            if not awake:
                self.now = min(one.frozen_until for one in living)
                continue
            self.current = self.chance.choice(awake)
            self.current.thread.switch()

    def arrive(self, *, late: bool = True) -> None:
        """A request is sent: others may run before it arrives, and whoever sent it may die.

        Args:
            late: whether it may arrive after its sender's lease was taken over.
        """
        command = self.current
        assert command is not None
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise BrokenLaw("no end")
        if command.dead:
            raise Died
        self.now += self.chance.random()
        if command.mortal and self.trouble:
            fate = self.chance.random() / self.trouble
            if fate < 0.25:
                self.faults["died before a request"] += 1
                command.dead = True
                raise Died
            if fate < 0.5:
                command.doomed = True
            elif fate < 1 and late:
                self.faults["frozen, and the request came late"] += 1
                command.frozen_until = self.now + self.chance.uniform(5, 200)
                self.pause(0)
                return
        if late and self.chance.random() < 0.3:
            self.pause(0)

    def answer(self) -> None:
        """A request was obeyed; whoever sent it may die before he learns of it."""
        command = self.current
        assert command is not None
        if command.doomed:
            self.faults["died after a request"] += 1
            command.dead = True
            raise Died

    def pause(self, seconds: float) -> None:
        """The others run."""
        command = self.current
        assert command is not None
        command.frozen_until = max(command.frozen_until, self.now + seconds)
        self.main.switch()
        self.current = command

    def holder(self) -> int | None:
        """The number of the command that has the lease."""
        data, _ = self.store.objects.get(LEASE_KEY, (b"{}", ""))
        holder = json.loads(data).get("holder")
        return holder and int(holder["process"])

    # -------------------------------------------------------------------------- commands

    def _operate(self, act: Callable[[], None]) -> None:
        """A person runs a command, and again where it was refused."""
        for _ in range(TRIES):
            try:
                act()
                return
            except ShutError:
                self.faults["told: ShutError"] += 1
                return
            except ReleaseError as error:
                self.faults[f"told: {type(error).__name__}"] += 1
                if error.exit_code != 1:
                    raise BrokenLaw(f"refused for good: {error}") from error
                if not isinstance(error, StorageError | lease_module.HeldError | ChangedError):
                    known = ("no contact", "closed this release", "published again meanwhile")
                    if not any(words in str(error) for words in known):
                        raise BrokenLaw(str(error)) from error
            self.pause(self.chance.uniform(0, 90))
        self.faults["told: gave up"] += 1
        self.gave_up = True

    @contextmanager
    def _change(self, verb: str) -> Iterator[tuple[Changing, dict[str, Any]]]:
        """The right to change, and the state that is there."""
        with self.parts.change(self.store, verb, wait_seconds=self.chance.choice((0, 60))) as work:
            if work.mended is not None:
                self.faults["finished what another had decided"] += 1
            yield work, self._state(work)

    def _state(self, work: Changing) -> dict[str, Any]:
        about = json.loads(self.store.get(RELEASE_KEY))
        data = self.store.get(MANIFEST_KEY)
        if sha256(data) != about["files"][MANIFEST_KEY]:
            work.lease.renew()  # it may have been lost just now
            raise BrokenLaw("under the lease, manifest and release.json are apart")
        state: dict[str, Any] = json.loads(data)
        return state

    def _commit(self, work: Changing, verb: str, state: dict[str, Any], gone: list[str]) -> None:
        files = files_of(state)
        release = files.pop(RELEASE_KEY)
        before = set(json.loads(self.store.get(RELEASE_KEY))["files"])
        work.commit(verb, files, release, removed=[*sorted(before - set(files)), *gone])

    def _withdraw(self, index: int) -> None:
        with self._change("withdraw") as (work, state):
            if index not in state["gone"]:
                state["gone"] = sorted([*state["gone"], index])
                self._commit(work, "withdraw", state, [image_path(index)])
        self.done.append(("withdraw", index))

    def _publish(self) -> None:
        with self._change("publish") as (work, state):
            version = len(state["versions"]) + 1
            state["versions"].append([version, len(state["gone"])])
            state["open"] = True
            self._commit(work, "publish", state, [])
        self.done.append(("publish", version))
        self.pause(self.chance.choice((0, 30)))  # it looks for what must not lie there
        self.parts.let_in(self.store, self.policy, is_open=says_open, change=self.parts.change)

    def _unpublish(self) -> None:
        def mark(work: Changing) -> int:
            state = self._state(work)
            if state["open"]:
                state["open"] = False
                self._commit(work, "unpublish", state, [])
            return len(state["versions"])

        self.policy.close()
        self.pause(self.chance.choice((0, 30)))  # it asks whether strangers are refused
        version = self.parts.shut_out(
            self.store, self.policy, mark, is_open=says_open, change=self.parts.change
        )
        self.done.append(("unpublish", version))

    def _grow(self, n: int) -> None:
        with self._change("generate") as (work, state):
            state["n"] = max(n, state["n"])
            self._commit(work, "generate", state, [])
        self.done.append(("grow", n))

    def _reword(self, word: str) -> None:
        """A word, and another; where etags never come back, the one that was there before."""
        for each in (word, f"not {word}" if self.content else "white"):
            with self._change("publish") as (work, state):
                state["word"] = each
                self._commit(work, "publish", state, [])
        self.done.append(("reword", word))

    def _read(self) -> None:
        for _ in range(self.chance.randint(1, 4)):
            try:
                self._read_once()
                self.faults["(read whole)"] += 1
            except ChangedError:
                self.faults["(a reader was told that it had changed)"] += 1
            except StorageError:
                pass
            self.pause(self.chance.uniform(0, 5))

    def _read_once(self) -> None:
        seen = self.parts.look(self.store)
        assert seen.release_json is not None
        try:
            about, found = json.loads(seen.release_json), {}
            for key in about["files"]:
                found[key] = sha256(seen.store.get(key))
            state = json.loads(seen.store.get(MANIFEST_KEY))
            for index in samples_of(state):
                seen.store.get(image_path(index))
        except KeyError as error:
            seen.confirm()
            raise BrokenLaw(f"a reader misses {error}") from error
        seen.confirm()
        if found != about["files"]:
            raise BrokenLaw(
                f"a reader found a mixture: {sorted(found.items() ^ about['files'].items())}"
            )
        if seen.store is not self.store:
            self.faults["(read while it was put in place)"] += 1

    # -------------------------------------------------------------------------- the laws

    def _check(self) -> None:
        objects = {key: data for key, (data, _) in self.store.objects.items()}
        if register := objects.pop(LEASE_KEY, None):
            said = json.loads(register)
            if said["holder"] or said["change"]:
                raise BrokenLaw(f"after the end: {said}")
        # The dead leave what they tried the storage with; no listing shows it.
        objects = {key: data for key, data in objects.items() if not is_hidden(key)}
        state = json.loads(objects[MANIFEST_KEY])
        for verb, what in self.done:
            there = {
                "withdraw": what in state["gone"],
                "publish": what in [version for version, _ in state["versions"]],
                "grow": state["n"] >= int(what) if verb == "grow" else True,
                "unpublish": not state["open"] or len(state["versions"]) > what
                if verb == "unpublish"
                else True,
            }.get(verb, True)
            if not there:
                raise BrokenLaw(f"{verb} {what} was said to be done, and is lost: {state}")
        self._check_policy(state)
        expected = {**files_of(state)}
        for index in range(MADE):
            if index not in state["gone"]:
                expected[image_path(index)] = b"image %d" % index
        if objects != expected:
            unlike = sorted(
                key
                for key in objects.keys() | expected.keys()
                if objects.get(key) != expected.get(key)
            )
            raise BrokenLaw(f"not one whole release: {unlike}")

    def _check_policy(self, state: dict[str, Any]) -> None:
        lets_in, calm = self.policy.lets_in, self.calm and not self.gave_up
        if lets_in and not state["open"]:
            # Nothing fences a policy: this much is left, and `verify` tells of it.
            if not (self.policy.opened_late and any(one.dead for one in self.commands)):
                raise BrokenLaw("strangers are let in, and the release says that it is closed")
            self.faults["(opened late beside one who died)"] += 1
        if calm and state["open"] and not lets_in:
            raise BrokenLaw("nothing went wrong, and strangers are shut out of what is published")


# ------------------------------------------------------------------------------ the release

FIRST: dict[str, Any] = {"n": 3, "gone": [], "versions": [], "word": "white", "open": False}


def says_open(store: Store) -> bool:
    """As of `manifests.publish.gate`, of this small release."""
    release_json = look_at(store).release_json
    assert release_json is not None
    return bool(json.loads(release_json)["open"])


def samples_of(state: dict[str, Any]) -> list[int]:
    return [index for index in range(state["n"]) if index not in state["gone"]]


def files_of(state: dict[str, Any]) -> dict[str, bytes]:
    """All files of the release in that state, release.json last."""
    return dict(_files_of(json.dumps(state)))


@functools.lru_cache(10_000)
def _files_of(text: str) -> dict[str, bytes]:
    state = json.loads(text)
    files = {MANIFEST_KEY: json.dumps(state).encode(), "README.md": state["word"].encode()}
    for version, gone in state["versions"]:
        files[f"versions/{version}"] = b"%d of it withdrawn" % gone
    for index in samples_of(state)[:PICTURED]:  # which come and go as samples are withdrawn
        files[f"page/pictures/{index}.png"] = b"picture %d" % index
    digests = {key: sha256(data) for key, data in files.items()}
    about = {"files": digests, "open": state["open"]}
    return {**files, RELEASE_KEY: json.dumps(about).encode()}


# ------------------------------------------------------------------------------ many schedules


class _Seeded:
    """`secrets`, as a function of the schedule."""

    def __init__(self, world: World) -> None:
        self.token_hex = lambda size: f"{world.chance.getrandbits(8 * size):0{2 * size}x}"


class _Time:
    """`time`, in which sleeping lets the others run."""

    def __init__(self, world: World) -> None:
        self.sleep = world.pause


def _bytes_of(document: Mapping[str, Any]) -> bytes:
    """JSON without the indents, which take most of the time."""
    return json.dumps(document).encode()


def _parsed(data: bytes, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(data)
    return document


@contextmanager
def simulated(world: World) -> Iterator[None]:
    """The protocol with the schedule's time, chance and processes, without threads."""

    def number() -> int:
        return world.current.number if world.current else 0

    def here() -> Holder:
        return Holder(user="u", host="h", process=number() or 1, machine="m")

    def is_gone(holder: Holder) -> bool:
        return world.same_machine and world.commands[holder.process - 1].dead

    places: list[tuple[Any, str, Any]] = [
        (register_module, "json_bytes", _bytes_of),
        (register_module, "parse_json", _parsed),
        (journal_module, "json_bytes", _bytes_of),
        (journal_module, "parse_json", _parsed),
        (lease_module, "secrets", _Seeded(world)),
        (lease_module, "time", _Time(world)),
        (lease_module, "elapsed", lambda: world.now + 1e5 * number()),
        (lease_module, "BEATS", False),
        (lease_module, "POLL_SECONDS", 15.0),
        (lease_module, "check_conditional_writes", lambda _: Conditional(removes=world.removes)),
        (changing_module, "in_threads", lambda function, items: [function(item) for item in items]),
        (Holder, "here", staticmethod(here)),
        (Holder, "is_gone", property(is_gone)),
    ]
    before = [vars(place)[name] for place, name, _ in places]
    for place, name, value in places:
        setattr(place, name, value)
    try:
        yield
    finally:
        for (place, name, _), value in zip(places, before, strict=True):
            setattr(place, name, value)


def simulate(seed: int, parts: Parts, faults: Counter[str]) -> int:
    """One schedule; how many requests it took. Raises BrokenLaw, with the seed."""
    world = World(seed, parts, faults)
    try:
        with simulated(world):
            world.run()
    except BrokenLaw as error:
        raise BrokenLaw(f"seed {seed}: {error}") from None
    return world.steps


def many(first: int, count: int, parts: Parts | None = None) -> tuple[Counter[str], int]:
    """Schedules of consecutive seeds: what happened in them, and the requests."""
    faults: Counter[str] = Counter()
    steps = sum(simulate(seed, parts or Parts(), faults) for seed in range(first, first + count))
    return faults, steps


def main() -> None:
    ran = run(many, __doc__, chunk=500)
    print(
        f"{ran.schedules:,} schedules, {ran.steps:,} requests, in {ran.seconds:.1f} s"
        f" on {ran.processes} processes: nothing lost, every reader found one whole release"
    )


if __name__ == "__main__":
    main()
