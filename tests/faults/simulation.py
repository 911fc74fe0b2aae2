"""The policy and the ledger through random schedules of everything that can go wrong.

    python -m tests.faults.simulation --schedules 100000

A schedule is a function of its seed. It drives the real `Policy` and the real `Ledger` over a
`MemoryStore`: workers crash at any step, hang and wake up long after they were replaced, machines
go, at once or after a notice, devices draw no numbers, raise, cannot load or hang, begun shards are
kept, messages come late, twice, out of order or from the dead, the storage refuses or loses
answers, drivers are killed between two volumes, two drivers work on one release, the release grows.
Some samples are no numbers at their first attempt on any device. At the end come a life whose only
faults are wrong devices, half of them right, and a life without faults: both must complete the
release, as an operator runs the same command until it says that it is done.

Three pure functions of the ledger are replaced by faster equals: Parquet bytes are kept by table,
tables and row counts by bytes, and `in_threads` runs one after the other, which also makes a
schedule repeatable. One schedule in 1,000 runs without that, and ends with the real `finalise`.
"""

from __future__ import annotations

import functools
import heapq
import random
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

import manifests.ledger.ledger as ledger_module
from manifests.errors import StorageError
from manifests.format.layout import image_path, part_key
from manifests.format.parquet import parquet_bytes, table_from_bytes
from manifests.format.schema import rows_table
from manifests.ledger import Ledger, ShardPlan
from manifests.ledger.finalise import finalise
from ray_jobs.generation.driving.blame import most_attempts
from ray_jobs.generation.driving.events import (
    Decision,
    Draining,
    End,
    Event,
    GiveUp,
    HandBack,
    HandedBack,
    Load,
    Outcome,
    Rest,
    Rested,
    Retire,
    Room,
    ShardCommitted,
    ShardFailed,
    Start,
    StopAsked,
    Submit,
    WorkerDied,
    WorkerPlaced,
    WorkerReady,
)
from ray_jobs.generation.driving.policy import Policy, PolicyConfig
from ray_jobs.generation.worker.doubts import DoubtfulError, Draws
from ray_jobs.generation.worker.environment import Place
from tests.faults.memory_store import MemoryStore
from tests.faults.schedules import run
from tests.manifests.releases import SCHEMA, document, row

MOST_STEPS = 5_000  # of a schedule; one takes some hundred
LARGEST_N, LARGEST_SHARD = 12, 4
REAL_EVERY = 1_000
ATTEMPTS = 3
MOST_DEVICES = 4
# What may be wrong with a device: at every draw, at one in some, at a shard, at its start.
WRONG = ("no numbers", "no numbers now and then", "raises", "cannot load", "damaged copy", "hangs")


class BrokenLaw(AssertionError):
    """A schedule ended in a way that it must not."""


class DeviceError(Exception):
    """A device raised."""


class HungError(Exception):
    """A device does not answer, which the vigil finds."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What is simulated, so that a test can plant a fault of ours and see it found."""

    policy: Callable[..., Policy] = Policy
    ledger: Callable[..., Ledger] = Ledger
    volumes_first: bool = True
    distrusting: bool = True


def is_sick(index: int) -> bool:
    """Whether a sample's first draw is no number, on whatever device."""
    return index % 7 == 3


def holds_sick(plan: ShardPlan, shard: int) -> bool:
    """Whether a device that is alone may be unable to tell that a shard is wrong, not itself."""
    return any(map(is_sick, plan.indices(shard)))


def volume(index: int) -> bytes:
    """The image of a sample."""
    return b"volume %d of attempt %d" % (index, is_sick(index))


@functools.cache
def rows_of(first: int, count: int) -> pa.Table:
    """The manifest rows of consecutive samples."""
    return rows_table([row(i, volume(i)) for i in range(first, first + count)], SCHEMA)


# ------------------------------------------------------------------------------ the world


@dataclass(eq=False)
class Device:
    """A GPU of a machine, which one process can have, or the CPU of one, which any number can."""

    place: Place
    shared: bool
    wrong: str = ""
    holder: Worker | None = None


@dataclass(eq=False)
class Worker:
    """A process: loads, then works on its shards step by step, whatever its driver believes."""

    driver: Driver
    number: int
    shards: list[tuple[int, Draws]] = field(default_factory=list)
    device: Device | None = None
    told_to_load: bool = False
    loaded: bool = False
    steps: Iterator[None] | None = None
    stored: int = 0  # volumes of the first of its shards
    leaves: set[int] = field(default_factory=set)  # shards that it is to hand back
    hung: bool = False
    running: bool = False


@dataclass(eq=False)
class Driver:
    """A driver's process: a fresh policy over what the ledger lists as pending."""

    plan: ShardPlan
    policy: Policy
    mail: list[Event] = field(default_factory=list)
    workers: dict[int, Worker] = field(default_factory=dict)
    resting: list[tuple[float, int, Place]] = field(default_factory=list)  # until when
    leaving: set[str] = field(default_factory=set)  # nodes of which it knows that they drain
    clock: float = 0.0
    end: End | None = None
    stop_asked: bool = False


class World:
    """One release, and all that happens to it."""

    def __init__(self, seed: int, parts: Parts, faults: Counter[str]) -> None:
        self.chance = random.Random(seed)
        self.parts, self.faults = parts, faults
        self.store = MemoryStore(self.chance, faults)
        self.store.rival = self._rival
        self.size = self.chance.randint(1, LARGEST_SHARD)
        self.n = self.chance.randint(1, LARGEST_N)
        self.trouble = self.chance.choice((0.0, 0.1, 0.2, 0.4))
        self.processes: list[Worker] = []  # that live, also those their driver has forgotten
        self.drivers: list[Driver] = []
        gpus = self.chance.randint(0, MOST_DEVICES)
        names = [f"GPU {i}" for i in range(gpus)] or ["CPU"]
        self.devices = [
            Device(Place(node=str(i // 2), host=f"machine {i // 2}", device=name), not gpus)
            for i, name in enumerate(names)
        ]
        self.draining: set[str] = set()  # nodes
        self.steps = 0

    # -------------------------------------------------------------------------- lives

    def run(self) -> None:
        """Lives with faults, one with wrong devices alone, one without any; the last two must
        complete the release as far as they want it."""
        n = self.n
        for _ in range(self.chance.randint(1, 3)):
            self._break(least_right=0 if len(self.devices) == 1 else 1)
            self._life(self.chance.randint(1, n), self.chance.choice((1, 1, 2)))
        self.trouble = self.store.trouble = 0.0
        for worker in self.processes:  # the forgotten may still be at it
            worker.hung = False
        self._break(least_right=(len(self.devices) + 1) // 2)
        self._life(self.chance.randint(1, n), 1, must="with right devices")
        for device in self.devices:
            device.wrong = ""
        self._life(n, 1, must="undisturbed")
        self.processes.clear()
        self._check_release(n)

    def _break(self, *, least_right: int) -> None:
        """Other devices are wrong now; where a machine's copy is damaged, all of it.

        Two that draw no numbers would be believed. Of one that is alone nobody can tell whether it
        or the sample is wrong; nor where crashes leave nothing but one that sometimes is.
        """
        right = self.chance.sample(self.devices, least_right)
        for device in self.devices:
            device.wrong = ""
        for device in self.devices:
            if device in right or device.wrong or self.chance.random() < 0.6:
                continue
            wrong = self.chance.choice(WRONG)
            mates = [d for d in self.devices if d.place.node == device.place.node]
            confused = any("no numbers" in other.wrong for other in self.devices)
            confused |= len(self.devices) == 1 or (self.trouble > 0 and "now and then" in wrong)
            if wrong == "damaged copy" and not any(mate in right for mate in mates):
                for mate in mates:
                    mate.wrong = wrong
            elif wrong != "damaged copy" and not (confused and "no numbers" in wrong):
                device.wrong = wrong

    def _life(self, n: int, drivers: int, must: str = "") -> None:
        """The command, run by one operator or by two at once, to its end or its death.

        Args:
            must: as which run it has to complete; empty where it need not.
        """
        self.store.trouble = self.trouble / 4
        self.last: End | None = None
        if drivers == 2:
            self.faults["two drivers at once"] += 1
        self.drivers, self.draining = [], set()
        for number in range(drivers):  # the second may want more, or less
            self._begin(n if number == 0 else self.chance.randint(1, self.n))
            for _ in range(self.chance.randint(0, 10) if drivers == 2 else 0):
                self._step()  # the other comes a little later
        while self.drivers:
            self._step()
        if must and (self.last is None or self.last.outcome is not Outcome.COMPLETE):
            plan = ShardPlan(n, self.size)
            if all(holds_sick(plan, shard) for shard in self._pending(plan)):
                self.faults["(a sick sample, and not two right devices to tell)"] += 1
                return
            raise BrokenLaw(f"the run {must} ended {self.last}")

    def _begin(self, n: int) -> None:
        plan = ShardPlan(n, self.size)
        config = PolicyConfig(
            workers=self.chance.randint(1, 3),
            in_hand=self.chance.randint(1, 2),
            max_attempts=self.chance.randint(1, 3),
            max_failures=self.chance.randint(5, 8),
            room=None if self.devices[0].shared else len(self.devices),
            devices=len(self.devices),
            grows=self.chance.random() < 0.5,
        )
        ledger = self.parts.ledger(self.store)
        try:
            ledger.begin({"fingerprint": "f" * 64, "shard_size": self.size}, n=n)
            pending = ledger.pending(plan)
        except StorageError:
            return  # exit 1; the operator runs it again
        driver = Driver(plan, self.parts.policy(pending, config))
        self.drivers.append(driver)
        self._obey(driver, driver.policy.begin())
        self._see_end(driver)

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise BrokenLaw("no end")
        if not self.drivers:
            return
        driver = self.chance.choice(self.drivers)
        if self._strikes(0.4):
            self._disturb(driver)
        elif driver.mail and self.chance.random() < 0.5:
            self._deliver(driver)
        elif driver.resting and self._strikes(0.1):  # else steps are quicker than rests
            self._end_rest(driver)
        elif self.chance.random() < 0.02:
            self._look(driver)
        else:
            ready = [w for w in self.processes if not w.hung and self._can_move(w)]
            if ready:
                self._work(self.chance.choice(ready))
            elif not driver.mail:
                self._nothing_moves(driver)
        self._see_end(driver)

    def _see_end(self, driver: Driver) -> None:
        if driver.end is not None and driver in self.drivers:
            self._check_end(driver)
            self.last = driver.end
            self.drivers.remove(driver)

    # -------------------------------------------------------------------------- faults

    def _strikes(self, share: float) -> bool:
        return bool(self.trouble) and self.chance.random() < self.trouble * share

    def _disturb(self, driver: Driver) -> None:
        """One fault of a process or of a message."""
        kind = self.chance.choice(
            (
                *("crash", "crash", "crash", "hang", "hang", "partition", "machine"),
                *("driver", "stop", "duplicate", "drain", "keep"),
            )
        )
        living = [w for w in driver.workers.values() if w in self.processes]
        if kind == "driver":
            self.faults["driver killed"] += 1
            self.drivers.remove(driver)
            for worker in living:  # on a cluster some work on for a while
                if self.chance.random() < 0.7:
                    self._end_process(worker)
        elif kind == "stop":
            self.faults["stop asked"] += 1
            driver.stop_asked = True
            self._obey(driver, driver.policy.on(StopAsked()))
        elif kind == "duplicate" and driver.mail:
            self.faults["message twice"] += 1
            driver.mail.append(self.chance.choice(driver.mail))
        elif kind == "machine" and living:
            self.faults["machine lost"] += 1
            node = self._node_of(self.chance.choice(living))
            for worker in living:
                if node is not None and self._node_of(worker) == node:
                    self._end_process(worker)
                    gone = WorkerDied(worker=worker.number, reason=kind, with_its_machine=True)
                    driver.mail.append(gone)
        elif kind == "drain" and living:
            node = self._node_of(self.chance.choice(living))
            staying = [d for d in self.devices if d.place.node not in {*self.draining, node}]
            alone = len(staying) == 1 and "no numbers" in staying[0].wrong  # nobody could tell
            if node is not None and staying and not alone:
                self.faults["machine drains"] += 1
                self.draining.add(node)
        elif kind == "keep":
            if begun := [w for w in self.processes if w.steps is not None and w.stored]:
                self._keep(self.chance.choice(begun))
        elif kind in ("crash", "hang", "partition") and living:
            worker = self.chance.choice(living)
            self.faults[
                {
                    "crash": "worker crashed",
                    "hang": "worker hung, and woke up later",
                    "partition": "worker cut off, and worked on",
                }[kind]
            ] += 1
            if kind == "crash":
                self._end_process(worker)
            worker.hung = kind == "hang"
            driver.mail.append(WorkerDied(worker=worker.number, reason=kind))

    def _look(self, driver: Driver) -> None:
        """The driver sees how large the cluster is, and what drains."""
        for node in sorted(self.draining - driver.leaving):
            driver.leaving.add(node)
            self._obey(driver, driver.policy.on(Draining(node=node)))
        if driver.end is None:
            self._obey(driver, driver.policy.on(self._room()))

    def _keep(self, worker: Worker) -> None:
        """What is stored of the shard it works on is committed; it may work on."""
        if worker.running:
            return
        self.faults["begun shard kept"] += 1
        worker.running = True  # nobody else moves it meanwhile
        try:
            self._commit_begun(worker)
        except StorageError:
            pass
        finally:
            worker.running = False

    def _commit_begun(self, worker: Worker) -> None:
        shard, _ = worker.shards[0]
        ledger, indices = self.parts.ledger(self.store), worker.driver.plan.indices(shard)
        if worker.stored:
            if self.parts.distrusting:
                ledger.distrust()
            ledger.commit(shard, rows_of(indices.start, worker.stored), worker.stored)

    def _node_of(self, worker: Worker) -> str | None:
        return worker.device.place.node if worker.device else None

    def _rival(self) -> None:
        """Between a writer's look and its put, another writer may finish its own."""
        if self.trouble and self.chance.random() < self.trouble:
            others = [
                w for w in self.processes if w.steps is not None and not w.running and not w.hung
            ]
            if others:
                self.faults["another writer in between"] += 1
                other = self.chance.choice(others)
                rival, self.store.rival = self.store.rival, lambda: None
                for _ in range(6):
                    if other in self.processes:
                        self._work(other)
                self.store.rival = rival

    def _nothing_moves(self, driver: Driver) -> None:
        """Everybody is dead or hung and no message is under way: rests end, hung ones wake up."""
        if driver.resting:
            self._end_rest(driver)
            return
        if any(other.mail or other.resting for other in self.drivers):
            return  # what it waits for is in another driver's hands
        hung = [w for w in self.processes if w.hung]
        if not hung:
            raise BrokenLaw("the driver waits for nobody")
        for worker in hung:
            worker.hung = False

    # -------------------------------------------------------------------------- workers

    def _work(self, worker: Worker) -> None:
        """One step of a process: find a place, load, or a volume, or the commit."""
        driver = worker.driver
        if worker.device is None and not self._is_forgotten(worker):
            self._place(worker)
            return
        if not worker.loaded and worker.told_to_load:
            assert worker.device is not None
            self._load(worker, worker.device)
            return
        if worker.steps is None:
            if not worker.shards:
                if self._is_forgotten(worker):
                    self._end_process(worker)  # nobody will ask it anything any more
                return
            assert worker.device is not None
            worker.steps, worker.stored = self._print(worker), 0
        shard, _ = worker.shards[0]
        worker.running = True
        event: Event = HandedBack(worker=worker.number, shard=shard)
        try:
            if shard not in worker.leaves:
                next(worker.steps)
                return
            self.faults["shard handed back"] += 1
            self._commit_begun(worker)
        except StopIteration:
            event = ShardCommitted(worker=worker.number, shard=shard)
        except StorageError:
            event = ShardFailed(
                worker=worker.number,
                shard=shard,
                reason="storage",
                storage=self.chance.random() < 0.7,
            )
        except DoubtfulError as error:
            event = ShardFailed(
                worker=worker.number,
                shard=shard,
                reason=str(error),
                doubts=error.draws,
                whole=error.whole,
            )
        except DeviceError as error:
            event = ShardFailed(worker=worker.number, shard=shard, reason=str(error))
        except HungError as error:
            self._end_process(worker)  # the driver kills it
            event = WorkerDied(worker=worker.number, reason=str(error))
        finally:
            worker.running = False
        worker.leaves.discard(shard)
        worker.shards.pop(0)
        worker.steps = None
        driver.mail.append(event)

    def _end_rest(self, driver: Driver) -> None:
        """Time passes, up to the end of the next rest."""
        driver.clock, _, place = heapq.heappop(driver.resting)
        self._obey(driver, driver.policy.on(Rested(place=place)))

    def _can_move(self, worker: Worker) -> bool:
        """Whether a step of it would change anything: not of one that waits for a device, for a
        word or for a shard."""
        if self._is_forgotten(worker):
            return True
        if worker.device is None:
            return bool(self._free())
        return bool(worker.steps or worker.shards) if worker.loaded else worker.told_to_load

    def _is_forgotten(self, worker: Worker) -> bool:
        return worker.driver not in self.drivers or worker.number not in worker.driver.workers

    def _free(self) -> list[Device]:
        """Devices that the cluster can give away; processes that are gone free theirs."""
        for device in self.devices:
            if device.holder not in self.processes:
                device.holder = None
        staying = (device for device in self.devices if device.place.node not in self.draining)
        return [device for device in staying if device.shared or device.holder is None]

    def _place(self, worker: Worker) -> None:
        """The cluster gives it a device, if one is free."""
        if free := self._free():
            worker.device = free[0]  # as Ray does, which has no idea of what is wrong
            worker.device.holder = worker
            placed = WorkerPlaced(worker=worker.number, place=worker.device.place)
            worker.driver.mail.append(placed)

    def _load(self, worker: Worker, device: Device) -> None:
        number = worker.number
        if device.wrong == "damaged copy":
            self._end_process(worker)
            event: Event = WorkerDied(worker=number, reason="damaged copy", fatal=True)
        elif device.wrong == "cannot load":
            self._end_process(worker)
            event = WorkerDied(worker=number, reason="cannot load")
        else:
            worker.loaded = True
            event = WorkerReady(worker=number)
        if device.wrong in ("damaged copy", "cannot load"):
            self.faults[f"device {device.wrong}"] += 1
        worker.driver.mail.append(event)

    def _draw(self, indices: range, settled: Draws, device: Device) -> dict[int, bytes]:
        """The volumes of a shard, as its device makes them.

        Raises:
            DoubtfulError, DeviceError, HungError: what is wrong.
        """
        wrong = device.wrong
        if wrong == "no numbers now and then":
            wrong = "no numbers" if self.chance.random() < 0.5 else ""
        if wrong in ("raises", "hangs", "no numbers"):
            self.faults[f"device {wrong}"] += 1
        if wrong == "raises":
            raise DeviceError(wrong)
        if wrong == "hangs":
            raise HungError(wrong)
        drawn: dict[int, bytes] = {}
        doubts: set[tuple[int, int]] = set()
        for index in indices:
            for attempt in range(ATTEMPTS):
                if wrong or (is_sick(index) and not attempt):
                    if (index, attempt) not in settled:
                        doubts.add((index, attempt))
                    continue
                drawn[index] = b"volume %d of attempt %d" % (index, attempt)
                break
            else:
                drawn[index] = b"lost"
        if doubts:
            whole = wrong != "" or all(is_sick(index) for index in indices)
            raise DoubtfulError("no numbers", frozenset(doubts), whole=whole)
        return drawn

    def _end_process(self, worker: Worker) -> None:
        self.processes.remove(worker)

    def _print(self, worker: Worker) -> Iterator[None]:
        """What a worker does of a shard; it may die, or be overtaken, at each `yield`."""
        assert worker.device is not None
        shard, settled = worker.shards[0]
        indices = worker.driver.plan.indices(shard)
        drawn = self._draw(indices, settled, worker.device)
        ledger = self.parts.ledger(self.store)
        table = rows_of(indices.start, len(indices))
        put, write = self.store.put, ledger.commit
        steps: list[Callable[[], Any]] = [
            functools.partial(put, image_path(i), drawn[i]) for i in indices
        ]
        commit: Callable[[], Any] = functools.partial(write, shard, table, len(indices))
        for step in [*steps, commit] if self.parts.volumes_first else [commit, *steps]:
            step()
            worker.stored += step is not commit
            if step is not commit or not self.parts.volumes_first:
                yield

    # -------------------------------------------------------------------------- drivers

    def _deliver(self, driver: Driver) -> None:
        """A message arrives: mostly the oldest, but Ray promises no order between workers."""
        late = self.trouble and self.chance.random() < 0.2
        place = self.chance.randrange(len(driver.mail)) if late else 0
        if place:
            self.faults["message out of order"] += 1
        event = driver.mail.pop(place)
        worker = getattr(event, "worker", None)
        if worker is not None and worker not in driver.workers:
            self.faults["message from a worker given up"] += 1
        if isinstance(event, WorkerDied):
            driver.workers.pop(event.worker, None)
        self._obey(driver, driver.policy.on(event))

    def _obey(self, driver: Driver, decisions: list[Decision]) -> None:
        for decision in decisions:
            if driver.end is not None:
                raise BrokenLaw("a decision after the end")
            match decision:
                case Start(worker=number):
                    worker = Worker(driver, number)
                    driver.workers[number] = worker
                    self.processes.append(worker)
                case Load(worker=number):
                    driver.workers[number].told_to_load = True
                case Rest(place=place, seconds=seconds):
                    order = self.chance.randrange(2**30)
                    heapq.heappush(driver.resting, (driver.clock + seconds, order, place))
                case Submit(worker=number, shard=shard, settled=settled):
                    if shard in driver.policy.committed:
                        raise BrokenLaw(f"shard {shard} handed out after its commit")
                    if self._node_of(driver.workers[number]) in driver.leaving:
                        raise BrokenLaw(f"shard {shard} handed to a machine that is about to go")
                    driver.workers[number].shards.append((shard, settled))
                case HandBack(worker=number, shard=shard):
                    driver.workers[number].leaves.add(shard)
                case Retire(worker=number):
                    retired = driver.workers.pop(number, None)
                    if retired in self.processes and self.chance.random() < 0.8:
                        self.processes.remove(retired)  # the others end a little later
                case GiveUp(shard=shard, attempts=attempts):
                    most = driver.policy.config.max_attempts
                    if not most <= attempts <= most_attempts(most):
                        raise BrokenLaw(f"shard {shard} given up after {attempts} attempts")
                case End():
                    driver.end = decision

    # -------------------------------------------------------------------------- the laws

    def _check_end(self, driver: Driver) -> None:
        """The outcome is the right word, and what was believed committed is."""
        assert driver.end is not None
        policy, outcome = driver.policy, driver.end.outcome
        pending = self._pending(driver.plan)
        if lost := policy.committed & pending:
            raise BrokenLaw(f"believed committed and not in the store: {sorted(lost)}")
        if outcome is Outcome.COMPLETE and pending:
            raise BrokenLaw(f"said complete, shards {sorted(pending)} missing")
        if outcome is Outcome.INCOMPLETE and (driver.stop_asked or not policy.given_up):
            raise BrokenLaw("said incomplete, nothing was given up")
        if outcome is Outcome.INCOMPLETE and not pending <= policy.given_up.keys():
            raise BrokenLaw(f"missing and not named: {sorted(pending - policy.given_up.keys())}")
        if outcome is Outcome.STOPPED and not driver.stop_asked:
            raise BrokenLaw("said stopped, nobody asked")
        excused = self.trouble or self._wrong() or all(holds_sick(driver.plan, s) for s in pending)
        if outcome is Outcome.STUCK and not excused:
            raise BrokenLaw(f"stuck, and nothing went wrong: {driver.end.reason}")
        self.faults[f"(a run ended {outcome})"] += 1

    def _check_release(self, n: int) -> None:
        """No sample lost, none twice, and byte for byte the undisturbed release."""
        wanted = ShardPlan(max(n, 1), self.size)
        expected = {image_path(i): volume(i) for i in range(n)}
        for shard in range(wanted.count):
            table = rows_of(shard * self.size, wanted.expected_rows(shard))
            expected[part_key(shard)] = ledger_module.parquet_bytes(table)
        found = {
            key: data
            for key, (data, _) in self.store.objects.items()
            if key not in (ledger_module.PLAN_KEY, ledger_module.TARGET_KEY)
        }
        if found != expected:
            unlike = {k for k in found.keys() | expected.keys() if found.get(k) != expected.get(k)}
            raise BrokenLaw(f"not the undisturbed release: {sorted(unlike)[:6]}")
        indices: list[int] = []
        for shard in range(wanted.count):
            stored = self.store.objects[part_key(shard)][0]
            indices += ledger_module.table_from_bytes(stored, "part")["index"].to_pylist()
        if indices != list(range(n)):
            raise BrokenLaw(f"samples {indices} in the manifest of {n}")

    def _room(self) -> Room:
        there = [device for device in self.devices if device.place.node not in self.draining]
        return Room(workers=4 if there[0].shared else len(there), devices=len(there))

    def _wrong(self) -> bool:
        return any(device.wrong for device in self.devices)

    def _pending(self, plan: ShardPlan) -> set[int]:
        """What is not whole in the store: looked up here, not asked of the ledger."""
        return {
            shard
            for shard in range(plan.count)
            if (found := self.store.objects.get(part_key(shard))) is None
            or ledger_module.table_from_bytes(found[0], "part").num_rows < plan.expected_rows(shard)
        }


# ------------------------------------------------------------------------------ many schedules

_bytes_of: dict[int, bytes] = {}
_table_of: dict[bytes, pa.Table] = {}


def _kept_bytes(table: pa.Table) -> bytes:
    if id(table) not in _bytes_of:  # `rows_of` keeps every table, so ids stay
        _bytes_of[id(table)] = parquet_bytes(table)
    return _bytes_of[id(table)]


def _kept_table(data: bytes, name: str) -> pa.Table:
    if data not in _table_of:
        _table_of[data] = table_from_bytes(data, name)
    return _table_of[data]


def _kept_count(store: MemoryStore, key: str) -> int:
    return int(_kept_table(store.get(key), key).num_rows)


@contextmanager
def quick_codec() -> Iterator[None]:
    """The ledger with its pure functions kept in memory, without threads."""
    quick: dict[str, Any] = {
        "parquet_bytes": _kept_bytes,
        "table_from_bytes": _kept_table,
        "row_count": _kept_count,
        "in_threads": lambda function, items: [function(item) for item in items],
    }
    before = {name: getattr(ledger_module, name) for name in quick}
    vars(ledger_module).update(quick)
    try:
        yield
    finally:
        vars(ledger_module).update(before)


def simulate(seed: int, parts: Parts, faults: Counter[str], *, real: bool = False) -> int:
    """One schedule; how many steps it took.

    Args:
        real: without `quick_codec`, ended by `finalise`, compared with an undisturbed release.

    Raises:
        BrokenLaw: with the seed.
    """
    world = World(seed, parts, faults)
    try:
        if not real:
            with quick_codec():
                world.run()
            return world.steps
        world.run()
        calm = MemoryStore(random.Random(0), Counter())
        plan = ShardPlan(world.n, world.size)
        parts.ledger(calm).begin({"fingerprint": "f" * 64, "shard_size": world.size}, n=world.n)
        for shard in range(plan.count):
            for index in plan.indices(shard):
                calm.put(image_path(index), volume(index))
            table = rows_of(shard * world.size, plan.expected_rows(shard))
            Ledger(calm).commit(shard, table, plan.expected_rows(shard))
        for store in (world.store, calm):
            finalise(store, plan, document())
        disturbed, undisturbed = (
            {key: data for key, (data, _) in store.objects.items()} for store in (world.store, calm)
        )
        if disturbed != undisturbed:
            raise BrokenLaw("the finished release is not the undisturbed one")
        faults["(compared after the real finalise)"] += 1
    except BrokenLaw as error:
        raise BrokenLaw(f"seed {seed}: {error}") from None
    return world.steps


def many(first: int, count: int, parts: Parts | None = None) -> tuple[Counter[str], int]:
    """Schedules of consecutive seeds: the faults that struck, and the steps."""
    faults: Counter[str] = Counter()
    steps = sum(
        simulate(seed, parts or Parts(), faults, real=seed % REAL_EVERY == 0)
        for seed in range(first, first + count)
    )
    return faults, steps


def main() -> None:
    ran = run(many, __doc__, chunk=1_000)
    busy = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) / ran.processes
    print(
        f"{ran.schedules:,} schedules, {ran.steps:,} steps, in {ran.seconds:.1f} s on"
        f" {ran.processes} processes ({busy:.1f} s of CPU each): no sample lost, none twice, "
        "every run ended, with the right word"
    )


if __name__ == "__main__":
    main()
