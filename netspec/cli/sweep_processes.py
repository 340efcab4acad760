"""Runs commands in processes beside each other, as many at once as there are places."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from netspec.files.regular_file import open_own
from netspec.kernels.parallel import available

Job = TypeVar("Job")

# Seconds between two looks at the processes.
_PAUSE = 0.05


@dataclass(frozen=True)
class Command:
    """The arguments of `netspec`, and the file to which all that it says is added."""

    arguments: Sequence[str]
    log: Path


@dataclass
class _Busy(Generic[Job]):
    job: Job
    place: int
    process: subprocess.Popen[bytes]


class Processes(Generic[Job]):
    """Runs jobs in processes.

    Args:
        places: For each place, what the environment has there, such as its GPU.
        command: The command of a job.
        ended: Called with a job and the exit code of its process.
    """

    def __init__(
        self,
        places: Sequence[dict[str, str]],
        command: Callable[[Job], Command],
        ended: Callable[[Job, int], None],
    ) -> None:
        self._places = places
        self._command = command
        self._ended = ended
        self._busy: list[_Busy[Job]] = []

    def run(
        self,
        take: Callable[[], Job | None],
        stop: Callable[[], bool],
        given_up: Callable[[Sequence[Job]], Sequence[Job]] = lambda jobs: (),  # noqa: ARG005
    ) -> None:
        """Run jobs until there are none left, or until it is asked to stop: then they save and end.

        Args:
            take: Returns the next job; None if there is none, or none before another one ends.
            stop: Returns True if all is to end.
            given_up: Returns those of the jobs that run which are to end now.
        """
        try:
            while not stop():
                self._fill(take)
                if not self._busy:
                    return
                time.sleep(_PAUSE)
                self._look()
                ending = given_up([each.job for each in self._busy])
                for each in self._busy:
                    if each.job in ending:
                        each.process.terminate()
            for each in self._busy:
                each.process.terminate()
            while self._busy:
                time.sleep(_PAUSE)
                self._look(stopped=True)
        finally:
            for each in self._busy:
                each.process.kill()
                each.process.wait()

    def _fill(self, take: Callable[[], Job | None]) -> None:
        free = [i for i in range(len(self._places)) if i not in {each.place for each in self._busy}]
        for place in free:
            job = take()
            if job is None:
                return
            self._busy.append(_Busy(job, place, self._start(job, place)))

    def _start(self, job: Job, place: int) -> subprocess.Popen[bytes]:
        command = self._command(job)
        words = [sys.executable, "-m", "netspec.cli.sweep_worker", *command.arguments]
        with open_own(command.log) as log:
            # Ctrl-C is for the sweep, which tells its processes once; a second signal would end them
            # before they have saved.
            return subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=log, stderr=log,
                env={**os.environ, **self._places[place]}, start_new_session=True,
            )  # fmt: skip

    def _look(self, *, stopped: bool = False) -> None:
        """Take note of the processes that have ended."""
        for each in [e for e in self._busy if e.process.poll() is not None]:
            self._busy.remove(each)
            if each.process.stdin is not None:
                each.process.stdin.close()
            code = each.process.returncode
            if not stopped or code == 0:
                self._ended(each.job, code)


def places_for(jobs: int | None, target: str, device: str | None) -> list[dict[str, str]]:
    """Return the environment of each place: as many as `jobs`, else as there are GPUs or cores.

    Args:
        jobs: How many processes; None for as many as the machine has room for.
        target: What computes the runs.
        device: The device that is asked for, if one is.
    """
    gpus = _gpus() if target == "torch" and device != "cpu" else []
    count = jobs or len(gpus) or available()
    if not gpus:
        return [{} for _ in range(count)]
    return [{"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} for i in range(count)]


def _gpus() -> list[str]:
    """Return the names of the GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` has them."""
    from netspec.runtime.models.torch_build import require_torch

    require_torch()
    import torch

    count = torch.cuda.device_count()
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return visible[:count] if visible else [str(i) for i in range(count)]
