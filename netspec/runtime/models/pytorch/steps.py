"""Training steps of a PyTorch module, on one device or in one of several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from netspec import codes
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.runtime.data.batches import divided, evaluation_batch, evaluation_slices
from netspec.runtime.data.mixing import Mix
from netspec.runtime.data.samples import numbers_in
from netspec.runtime.models.diverged import LastStep
from netspec.runtime.models.measured import Measured
from netspec.runtime.models.protocols import (
    Job,
    Snapshot,
    check_snapshot,
    sound_snapshot,
)
from netspec.runtime.models.pytorch.average import WeightAverage
from netspec.runtime.models.pytorch.batches import (
    Batch,
    job_feeds,
)
from netspec.runtime.models.pytorch.epoch_share import OwnShare, Step
from netspec.runtime.models.pytorch.loaded import LoadedFeed
from netspec.runtime.models.pytorch.model import TorchModel
from netspec.runtime.models.pytorch.objective import Objective
from netspec.runtime.models.pytorch.optimizers import set_rate
from netspec.runtime.models.pytorch.preparation import Preparation
from netspec.runtime.models.pytorch.randomness import seed_process
from netspec.runtime.models.pytorch.shared_batch_norm import Participation
from netspec.runtime.optim.targets import shares_of_parts

# Reading a loss waits for the GPU, so it is only done once in this many steps.
_STEPS_AHEAD = 50


class TorchBackend:
    """See `netspec.runtime.models.protocols.Backend`.

    Each process computes its share of every batch, weighted by the targets in it. Gradients are
    summed over the processes, so that all take the same step. Dropout is drawn from the seed and the
    rank of the process. Batch norm uses the statistics of the process's own share, and the first
    process's running statistics are the ones that are used, unless its statistics are those of all.

    Args:
        model: the model that is trained.
        job: the run.
        participation: of batch norms that are shared, see `shared_batch_norm`; None for none.
    """

    def __init__(
        self, model: TorchModel, job: Job, participation: Participation | None = None
    ) -> None:
        self.model, self.job = model, job
        self.group, self.device = model.execution.group, model.execution.device
        self._participation = participation or Participation()
        self.reads_every = _STEPS_AHEAD if self.device.type == "cuda" else 1
        self.writes = self.group.rank == 0
        seed_process(job.seed, self.group.rank)
        # All batches but the last few have the same size, so searching for the fastest algorithm
        # pays off.
        searches = self.device.type == "cuda"
        if torch.backends.cudnn.benchmark != searches:
            torch.backends.cudnn.benchmark = searches

        self._feeds = job_feeds(job, model.graph, self.device)
        self._preparation = Preparation(model.graph, job, model.torch_dtype, self.device)
        feed = self._feeds["steps"]
        self._share = OwnShare(job, model.graph, self.group, feed, self.device)
        self._objective = Objective(model, job)
        parameters = self._objective.tensors
        self._average = None if job.ema is None else WeightAverage(parameters, job.ema)
        self._steps_done = 0
        self._optimizer = self._objective.make_optimizer(fused=model.execution.is_fused)
        self._scaler = torch.amp.GradScaler(
            self.device.type, enabled=model.execution.half is torch.float16
        )
        # Parameters that only other outputs depend on have no gradient here, but a zero one in
        # NumPy.
        self._has_unused = len(model.graph.outputs) > 1
        if self._has_unused:
            for parameter in parameters:
                parameter.grad = torch.zeros_like(parameter)
        self._train, self._evaluate = self._runners()
        self._prepare: Callable[[Batch, Tensor], Batch] = self._preparation.changed
        if job.augment and (compiler := model.execution.compiler):
            self._prepare = torch.compile(self._prepare, backend=compiler, dynamic=False)
        self._pending: list[Tensor] = []
        self._last: Batch | None = None
        # On one CPU reading the loss costs nothing; elsewhere it would wait for a device or a
        # process.
        self._alone = self.device.type == "cpu" and self.group.size == 1
        self._steps: Iterator[Step] = iter(())

    def _runners(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Return the module as called by training steps, and as called by evaluation."""
        module, compiler = self.model.module, self.model.execution.compiler
        train: nn.Module = module
        self._wrapped = module
        if self.group.size > 1:
            train = DistributedDataParallel(
                module,
                device_ids=[self.device] if self.device.type == "cuda" else None,
                find_unused_parameters=self._has_unused,
            )
            self._wrapped = train
        if compiler is None:
            return train, module
        # One compiled program for each batch size, of which there are few: see `batch_slices` and
        # `measure`.
        compiled = self.model.execution.compiled
        evaluate = compiled(module)
        return (evaluate if train is module else compiled(train)), evaluate

    # -- steps

    def begin_epoch(self, epoch: int, order: NDArray[np.int64], parts: Sequence[slice]) -> None:
        """See `Backend`."""
        self._steps = self._share.steps(epoch, order, parts)
        self.model.start_training()

    def step(self, lr: float) -> None:
        """See `Backend`."""
        x, y, drawn, weights, mix, counts = next(self._steps)
        self._participation.counts = counts
        if self.model.execution.compile_mode != "default":
            # What the CUDA graphs of the step before have left may be overwritten.
            torch.compiler.cudagraph_mark_step_begin()
        x = self._preparation.mixed(self._prepare(x, drawn), mix)
        set_rate(self._optimizer, lr)
        self._optimizer.zero_grad(set_to_none=not self._has_unused)
        self._last = x
        loss = self._gradients(x, y, weights, mix)
        self._pending.append(self._objective.shown(loss, is_first=self.writes))
        if self._alone and not torch.isfinite(loss):
            # As in NumPy, the weights are not changed, so that the fault can be located.
            return
        self._objective.finish_gradients(lambda: self._scaler.unscale_(self._optimizer))
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._follow()

    def _gradients(self, x: Batch, y: Tensor, weights: Sequence[float], mix: Mix | None) -> Tensor:
        """Compute the gradients of a batch, in as many parts as the job says; returns the loss."""
        parts = divided(len(y), self.job.accumulate)
        shares = [[1.0] * len(weights)]
        if len(parts) > 1:
            losses = (self.job.loss, *(term.loss for term in self.job.also))
            shares = shares_of_parts(losses, (y if mix is None else y[:, 0]).cpu().numpy(), parts)
        total = torch.zeros((), device=self.device, dtype=self.model.torch_dtype)
        for part, each in zip(parts, shares, strict=True):
            some = x if len(parts) == 1 else {name: of[part] for name, of in x.items()}
            own = [weight * s for weight, s in zip(weights, each, strict=True)]
            # Processes exchange gradients once, with those of the last part.
            last = part is parts[-1] or not isinstance(self._wrapped, DistributedDataParallel)
            with nullcontext() if last else self._wrapped.no_sync():
                loss = self._loss(some, y[part], own, mix)
                total = total + loss.detach()
                if self._alone and not torch.isfinite(loss):
                    break
                # DistributedDataParallel computes the mean over the processes, but the weighted sum
                # is needed.
                self._differentiate(self._scaler.scale(loss * self.group.size))
        return total

    def _follow(self) -> None:
        """Move the average of the weights towards those after a step."""
        self._steps_done += 1
        if self._average is not None:
            self._average.follow(self._steps_done)

    def _averaged(self) -> AbstractContextManager[None]:
        """Context manager: the module has the average of its weights, if the job averages them."""
        return nullcontext() if self._average is None else self._average.in_place()

    def _loss(self, x: Batch, y: Tensor, weights: Sequence[float], mix: Mix | None) -> Tensor:
        """Return this process's part of the batch's mean loss, without the L2 term."""
        with self.model.autocast():
            outputs = self._train(*self._objective.arguments(x))
        return self._objective.loss(outputs, y, weights, mix)

    def _differentiate(self, loss: Tensor) -> None:
        """Compute the gradients. They are 0 where nothing that is trained changes the loss."""
        if loss.requires_grad:
            loss.backward()
            return
        for parameter in self._objective.tensors:
            parameter.grad = torch.zeros_like(parameter)

    def read(self, stop: bool) -> tuple[list[float], bool]:
        """See `Backend`."""
        asked = torch.tensor(float(stop), dtype=torch.float64, device=self.device)
        values = self.group.total(torch.stack([*self._pending, asked])).tolist()
        self._pending.clear()
        return values[:-1], values[-1] > 0

    # -- what it leads to

    def measure(self, name: str, stop: Callable[[], bool]) -> Measured:
        """See `Backend`. The images are divided among the processes, batch by batch."""
        count = len(self.job.measured[name][1])
        share_of_step = -(-self.job.batch // self.group.size)
        batch = evaluation_batch(share_of_step, numbers_in(self.job.data.x_train))
        order = np.arange(count)
        if self.model.execution.compiler:
            # A smaller last batch would be compiled separately, so it is filled up with the last
            # image.
            order = np.minimum(np.arange(-(-count // batch) * batch), count - 1)
        parts = evaluation_slices(len(order), batch, self.group.rank, self.group.size)
        self.group.follow_first(self.model.module)
        self.model.module.eval()
        sums = self._objective.no_sums(self.device)
        weights = self.job.judge.weigh(self.job.measured[name][1])
        views = self.job.views(name)
        with torch.no_grad(), self._averaged():
            for (x, y), part in zip(self._feeds[name].batches(order, parts), parts, strict=True):
                if stop():
                    break
                seen = partial(self._preparation.seen, x)
                with self.model.autocast():
                    outputs = self._objective.mean_scores(self._evaluate, seen, views)
                weight = float(weights[part].sum())
                sums += self._objective.judge(outputs, y, min(len(y), count - part.start), weight)
        return self._objective.measured(self.group.total(sums))

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """See `Backend`."""
        with torch.no_grad(), self._averaged():
            return self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """See `Backend`."""
        self._average = None
        self.model.load_state_dict(state)

    # -- to be kept

    def snapshot(self) -> Snapshot:
        """See `Backend`. The optimizer's state is stored by the names of the parameters."""
        tensors = {f"model.{name}": array for name, array in self.model.state_dict().items()}
        state = self._optimizer.state_dict()["state"]
        for number, name in enumerate(self._objective.names):
            for key, value in state.get(number, {}).items():
                if value is not None:
                    array = torch.as_tensor(value).detach().cpu().numpy()
                    tensors[f"optimizer.{name}.{key}"] = np.array(array, order="C")
        for rank, own in enumerate(self._each_random(torch.get_rng_state())):
            tensors[f"random.cpu.{rank}"] = own
        if self.device.type == "cuda":
            for rank, own in enumerate(self._each_random(torch.cuda.get_rng_state(self.device))):
                tensors[f"random.cuda.{rank}"] = own
        for name, average in self._averages():
            tensors[f"average.{name}"] = average.cpu().numpy().copy()
        facts = {"scaler": self._scaler.state_dict(), "steps": self._steps_done}
        return Snapshot(tensors, facts)

    def _averages(self) -> list[tuple[str, Tensor]]:
        """Return the averages of the parameters by their names; none if the job does not average."""
        values = [] if self._average is None else self._average.values
        return [*zip(self._objective.names, values, strict=False)]

    def _each_random(self, state: Tensor) -> list[NDArray[Any]]:
        """Return the states of a random generator in every process, as bytes."""
        return [s.cpu().numpy().copy() for s in self.group.each(state.to(self.device))]

    def restore(self, snapshot: Snapshot) -> None:
        """See `Backend`."""
        shapes = {f"model.{n}": a.shape for n, a in self.model.state_dict().items()}
        found = {name: t for name, t in snapshot.tensors.items() if name.startswith("model.")}
        check_snapshot(Snapshot(found, {}), shapes)
        with sound_snapshot():
            self.model.load_state_dict(snapshot.part("model"))
            self._optimizer.load_state_dict({
                "state": self._optimizer_state(snapshot.part("optimizer")),
                "param_groups": self._optimizer.state_dict()["param_groups"],
            })  # fmt: skip
            averages = snapshot.part("average")
            for name, average in self._averages():
                average.copy_(torch.from_numpy(averages[name]))
            # Checkpoints of older versions have none.
            self._steps_done = int(snapshot.facts.get("steps", 0))
            random = snapshot.part("random")
            rank = self.group.rank
            if rank == 0 or f"cpu.{rank}" in random:
                torch.set_rng_state(torch.from_numpy(random[f"cpu.{rank}"]))
            else:  # there were fewer processes
                seed_process(self.job.seed, rank, self._steps_done)
            if self.device.type == "cuda" and f"cuda.{rank}" in random:
                torch.cuda.set_rng_state(torch.from_numpy(random[f"cuda.{rank}"]), self.device)
            if snapshot.facts["scaler"] and self._scaler.is_enabled():
                self._scaler.load_state_dict(snapshot.facts["scaler"])

    def _optimizer_state(self, given: Mapping[str, NDArray[Any]]) -> dict[int, dict[str, Tensor]]:
        """Convert the optimizer's state from arrays by name to torch's form, by parameter number."""
        state: dict[int, dict[str, Tensor]] = {}
        parameters, names = self._objective.tensors, self._objective.names
        rule = self._objective.rule
        numbers = {name: number for number, name in enumerate(names)}
        wrong = []
        for full, array in given.items():
            name, _, key = full.rpartition(".")
            shape = tuple(parameters[numbers[name]].shape) if name in numbers else None
            if shape is None:
                wrong.append(f"unexpected: `optimizer.{full}` {list(array.shape)}")
            elif array.shape not in (shape, ()):
                wrong.append(f"shape: `optimizer.{full}` is {list(array.shape)}, not {list(shape)}")
            else:
                state.setdefault(numbers[name], {})[key] = torch.from_numpy(array.copy())
        # torch uses the same names of states as netspec, and counts the steps of each parameter
        # separately.
        for number, name in enumerate(names if state else ()):
            shape = tuple(parameters[number].shape)
            kept = {key for key in rule.state_names if rule.keeps(key, name, shape)}
            lacking = kept - {*state.get(number, {})}
            wrong += [f"missing: `optimizer.{name}.{key}`" for key in sorted(lacking)]
        if wrong:
            message = "the checkpoint does not fit the net"
            raise NetspecError([Diagnostic(codes.RUN_CHECKPOINT, message, notes=tuple(wrong))])
        return state

    def close(self) -> None:
        """End the processes that make batches."""
        for feed in self._feeds.values():
            if isinstance(feed, LoadedFeed):
                feed.close()

    def last_step(self) -> LastStep | None:
        """See `Backend`. On a GPU the weights have already changed when a loss is read."""
        if not self._alone or self._last is None:
            return None
        dtype = self.model.torch_dtype
        x = {name: each.detach().to(dtype).numpy() for name, each in self._last.items()}
        return LastStep(self.model.graph, self.model.frozen, self.model.every_array(), x)
