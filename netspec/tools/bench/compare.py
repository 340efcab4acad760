"""Runs netspec and its peers in alternation, after checking that they compute the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netspec.runtime.models.room import require_room, require_room_for_parameters
from netspec.tools.bench.flops import step_flops
from netspec.tools.bench.peak_gemm import Ceiling, ceiling
from netspec.tools.bench.peers import OURS, PEERS
from netspec.tools.bench.timing import Round, ratio, summary, turns
from netspec.tools.bench.worker import PeerError, Worker
from netspec.tools.bench.workload import Array, Workload

if TYPE_CHECKING:
    from netspec.tools.bench.memory import MemoryUse
    from netspec.tools.bench.profile import Profile

# How far apart two results may be. The difference from adding float32 numbers in another order is
# far smaller.
_LOSS_TOLERANCE = 1e-3
_CHANGE_TOLERANCE = 5e-2


@dataclass(frozen=True)
class Timing:
    """The times of one peer.

    Attributes:
        seconds: of a step, the median of the rounds.
        cpu: processor seconds of a step, over all threads.
        ratio: the time relative to the first peer.
        gflops: billions of FLOPs per second.
        steps: the number of steps timed, in all rounds.
        peak: bytes of a step by the library's own profiler, if it has one.
    """

    name: str
    version: str
    seconds: float
    cpu: float
    ratio: float
    gflops: float
    steps: int
    rounds: tuple[float, ...]
    peak: int | None = None


@dataclass(frozen=True)
class BenchResult:
    """The result of a comparison. The first peer's ratio is 1.

    Attributes:
        timings: the first peer, netspec, then the others.
        failed: why other peers have no time, by name.
        flops: of a step, only those of its matrix products and convolutions.
        memory, profile: the memory use and the profile of netspec.
    """

    case: Workload
    rounds: int
    timings: tuple[Timing, ...]
    failed: Mapping[str, str]
    flops: int
    ceiling: Ceiling
    memory: MemoryUse
    profile: Profile | None = None

    def of(self, name: str) -> Timing | None:
        """Return the times of a peer, if it has any."""
        return next((timing for timing in self.timings if timing.name == name), None)


@dataclass
class _Field:
    """The peers that take part."""

    workers: dict[str, Worker] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def compare(
    case: Workload,
    against: Sequence[str],
    rounds: int = 5,
    *,
    profile: bool = False,
    say: Callable[[str], None] | None = None,
) -> BenchResult:
    """Time steps of netspec and its peers, round by round.

    Args:
        case: the workload to measure.
        against: names of `PEERS`. Ratios are relative to the first of them that can run it, or to
            netspec if none is given.
        rounds: the number of rounds.
        profile: also profile netspec's step.
        say: called with a message about the progress.

    Raises:
        PeerError: if netspec itself fails.
        NetspecError: if the case cannot be measured; `limit/memory`.
    """
    case.require()
    _require_room(case, 1 + len(against))
    say = say or (lambda text: None)  # noqa: ARG005 - nobody listens
    with ExitStack() as stack:
        ready = _start(case, against, say, stack)
        names = list(ready.workers)
        times: dict[str, list[Round]] = {name: [] for name in names}
        ours = ready.workers[OURS]
        reached = ours.ask("sgemm")
        memory = ours.ask("memory")
        taken_apart = ours.ask("profile") if profile else None
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for name in turns(names, number):
                if name not in ready.failed:
                    _take(name, ready, times)
        reached += ours.ask("sgemm")
    first = next((name for name in against if name in times and name not in ready.failed), OURS)
    order = [first, *(n for n in (OURS, *against) if n != first and n in times)]
    flops = step_flops(case.graph, case.batch, train=case.train)
    timings = tuple(
        _timing(ready.workers[name], times, first, flops)
        for name in order
        if name not in ready.failed
    )
    return BenchResult(
        case, rounds, timings, ready.failed, flops, ceiling(reached), memory, taken_apart
    )


def _require_room(case: Workload, peers: int) -> None:
    """Refuse a net that does not fit into memory.

    Raises:
        NetspecError: `limit/layers`, `limit/memory`.
    """
    from netspec.compiler.numpy_backend.memory_use import footprint
    from netspec.runtime.engine.program import make_plan

    # The parameters first, because planning takes time.
    require_room_for_parameters(case.graph, 4, copies=peers)
    plan = make_plan(case.graph, training=case.train, backward=case.train)
    require_room(
        case.graph, lambda batch: footprint(case.graph, plan, batch).total, case.batch, "timing"
    )


def _start(
    case: Workload, against: Sequence[str], say: Callable[[str], None], stack: ExitStack
) -> _Field:
    """Start netspec, then each peer, and compare its first step with netspec's."""
    ready = _Field()
    for name in (OURS, *against):
        if name in ready.workers:
            continue
        reason = PEERS[name].reason_not(case)
        if reason is None:
            say(f"{name} ...")
            try:
                worker = Worker(name, case)
                stack.callback(worker.close)
                ready.workers[name] = worker
                if name != OURS:
                    reason = difference(ready.workers[OURS].first, worker.first, case)
            except PeerError as error:
                if name == OURS:
                    raise
                reason = str(error)
        if reason is not None:
            ready.failed[name] = reason
            ready.workers.pop(name, None)
    return ready


def _take(name: str, ready: _Field, times: Mapping[str, list[Round]]) -> None:
    try:
        times[name].append(ready.workers[name].ask("round"))
    except PeerError as error:
        if name == OURS:
            raise
        ready.failed[name] = str(error)


def _timing(worker: Worker, times: Mapping[str, list[Round]], first: str, flops: int) -> Timing:
    name = worker.name
    seconds, cpu = summary(times, name)
    return Timing(
        name,
        worker.version,
        seconds,
        cpu,
        ratio(times[name], times[first]),
        flops / seconds / 1e9,
        sum(r.steps for r in times[name]),
        tuple(r.seconds for r in times[name]),
        worker.peak,
    )


def difference(
    ours: Mapping[str, Array], theirs: Mapping[str, Array], case: Workload
) -> str | None:
    """Return how a peer's first step differs from netspec's, or None if it does not.

    Losses and outputs are compared, and the change that the step made to each parameter.
    """
    import numpy as np

    key = "loss" if case.train else "output"
    a, b = np.asarray(ours[key]), np.asarray(theirs[key])
    if a.shape != b.shape:
        return f"computes a different {key}: {list(b.shape)} instead of {list(a.shape)}"
    if not np.isfinite(a).all():
        return f"cannot be compared: netspec's own {key} is not finite{_advice(case)}"
    if not np.isfinite(b).all():
        return f"computes {'a' if case.train else 'an'} {key} that is not finite"
    if case.train and _is_random(case):
        return None  # every peer draws its own masks
    if not float(np.abs(a - b).max()) <= _LOSS_TOLERANCE * float(np.abs(a).max()):
        return f"computes a different {key}"
    if not case.train:
        return None
    start = case.parameters()
    trained = [p.name for p in case.graph.trainable()]
    missing = [name for name in trained if name not in theirs]
    if missing:
        return f"does not train `{missing[0]}`"
    changes = {n: (ours[n] - start[n], theirs[n] - start[n]) for n in trained}
    most = max(_rms(mine) for mine, _ in changes.values())
    for name, (mine, other) in changes.items():
        # The rounding error of float32 in a parameter, for changes that are only rounding (a bias
        # before a norm).
        floor = 1e-6 * _rms(start[name]) + 1e-4 * most
        if not _rms(mine - other) <= _CHANGE_TOLERANCE * _rms(mine) + floor:
            return f"computes a different gradient of `{name}`"
    return None


def _advice(case: Workload) -> str:
    """Return what helps where numbers are not finite: a net that is drawn can divide by zeros."""
    return "" if case.weights is not None else " at initial values: give --weights, or a run"


def _rms(array: Array) -> float:
    """The root mean square: an activation that rounding switches on changes few elements by much."""
    import numpy as np

    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


def _is_random(case: Workload) -> bool:
    from netspec.runtime.engine.program import make_plan

    return bool(make_plan(case.graph, training=True).sample)
