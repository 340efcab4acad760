"""Training steps of a PyTorch module, on one device or in one of several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from netspec import codes
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.runtime.data.augment_draws import draw_for, picture_to_change
from netspec.runtime.data.batches import divided, evaluation_batch, share, share_of_targets
from netspec.runtime.data.choices import require
from netspec.runtime.data.chosen_images import ChosenImages
from netspec.runtime.data.dataset import IGNORED
from netspec.runtime.data.samples import by_input, numbers_in
from netspec.runtime.models.classifier_shape import (
    require_training_batch,
    require_training_batches,
)
from netspec.runtime.models.diverged import LastStep
from netspec.runtime.models.inputs import input_name
from netspec.runtime.models.protocols import (
    Job,
    Measured,
    Snapshot,
    check_snapshot,
    sound_snapshot,
)
from netspec.runtime.models.pytorch.augment import cut_out, shift_and_flip
from netspec.runtime.models.pytorch.batches import (
    Batch,
    Feed,
    FeedPart,
    make_feeds,
    make_normalizers,
)
from netspec.runtime.models.pytorch.model import TorchModel
from netspec.runtime.models.pytorch.optimizers import Trained, make_torch_optimizer, set_rate
from netspec.runtime.optim.averaging import decay_at
from netspec.runtime.optim.losses import SoftmaxCrossEntropy
from netspec.runtime.optim.optimizers import check_optimizer
from netspec.runtime.optim.targets import OF_CLASSES, shares_of_parts, targets_of

# Reading a loss waits for the GPU, so it is only done once in this many steps.
_STEPS_AHEAD = 50


class TorchBackend:
    """See `netspec.runtime.models.protocols.Backend`.

    Each process computes its share of every batch, weighted by the targets in it. Gradients are
    summed over the processes, so that all take the same step. Dropout is drawn from the seed and the
    rank of the process. Batch norm uses the statistics of the process's own share, and the first
    process's running statistics are the ones that are used.
    """

    def __init__(self, model: TorchModel, job: Job) -> None:
        self.model, self.job = model, job
        self.group, self.device = model.execution.group, model.execution.device
        self._picture = picture_to_change(job.augment, job.data)
        require(
            hasattr(job.loss, "in_torch"), f"{job.loss} has no PyTorch implementation (`in_torch`)"
        )
        self.reads_every = _STEPS_AHEAD if self.device.type == "cuda" else 1
        self.writes = self.group.rank == 0
        seeds = np.random.SeedSequence([job.seed, self.group.rank]).generate_state(1, np.uint64)
        torch.manual_seed(int(seeds[0] >> np.uint64(1)))
        # All batches but the last few have the same size, so searching for the fastest algorithm
        # pays off.
        searches = self.device.type == "cuda"
        if torch.backends.cudnn.benchmark != searches:
            torch.backends.cudnn.benchmark = searches

        self._feeds = self._make_feeds()
        only = next(iter(model.graph.inputs))
        self._normalizers = make_normalizers(
            job.normalization, only, model.torch_dtype, self.device
        )
        self._names, self._trained = self._choose_trained()
        self._average = None if job.ema is None else [p.detach().clone() for p in self._all()]
        self._steps_done = 0
        self._rule = rule = check_optimizer(job.optimizer, job.optimizer_options)
        # The gradient is clipped including the L2 term, and decoupled decay is different from L2: in
        # these cases the L2 gradient is added explicitly.
        self._adds_l2 = job.l2 > 0 and (job.clip_norm is not None or rule.decouples_decay)
        self._optimizer = make_torch_optimizer(
            rule,
            self._trained,
            weight_decay=0.0 if self._adds_l2 else job.l2,
            fused=self.device.type == "cuda",
        )
        self._scaler = torch.amp.GradScaler(
            self.device.type, enabled=model.execution.half is torch.float16
        )
        # Parameters that only other outputs depend on have no gradient here, but a zero one in
        # NumPy.
        self._has_unused = len(model.graph.outputs) > 1
        if self._has_unused:
            for parameter in self._all():
                parameter.grad = torch.zeros_like(parameter)
        self._train, self._evaluate = self._runners()
        self._prepare: Callable[[Batch, Tensor], Batch] = self._change_and_normalize
        if job.augment and (compiler := model.execution.compiler):
            self._prepare = torch.compile(self._prepare, backend=compiler, dynamic=False)
        self._pending: list[Tensor] = []
        self._last: Batch | None = None
        # On one CPU reading the loss costs nothing; elsewhere it would wait for a device or a
        # process.
        self._alone = self.device.type == "cpu" and self.group.size == 1
        self._steps: Iterator[tuple[Batch, Tensor, Tensor, tuple[float, ...]]] = iter(())

    def _make_feeds(self) -> dict[str, Feed]:
        """Return the sources of the images for the steps and for each accuracy, by name."""
        job = self.job
        sets = {"steps": (self._by_input(job.data.x_train), job.data.y_train)}
        chosen = {}
        for name, (x, y) in job.measured.items():
            if isinstance(x, ChosenImages):
                assert x.images is job.data.x_train, "some of the training images"
                chosen[name] = x.numbers
            else:
                sets[name] = (self._by_input(x), y)
        feeds = make_feeds(sets, self.device)
        return feeds | {name: FeedPart(feeds["steps"], numbers) for name, numbers in chosen.items()}

    def _by_input(self, x: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return samples by the names of the net's inputs."""
        return {input_name(self.model.graph, field): each for field, each in by_input(x).items()}

    def _choose_trained(self) -> tuple[list[str], list[Trained]]:
        """Return the names of the trained parameters, and these: the ones trained alike together."""
        job, roles = self.job, self.model.graph.parameters
        alike: dict[tuple[float, float], dict[str, Trained]] = {}
        for name, p in self.model.module.named_parameters():
            if p.requires_grad:
                rate = job.rates.get(name, 1.0)
                decay = job.decays.get(name, float(roles[name].role == "weight"))
                alike.setdefault((rate, decay), {})[name] = Trained(p, name, rate, decay)
        found = {name: each for group in alike.values() for name, each in group.items()}
        return [*found], [*found.values()]

    def _all(self) -> list[Tensor]:
        """Return the trained parameters."""
        return [each.tensor for each in self._trained]

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
        evaluate = torch.compile(module, backend=compiler, dynamic=False)
        if train is module:
            return evaluate, evaluate
        return torch.compile(train, backend=compiler, dynamic=False), evaluate

    # -- steps

    def begin_epoch(self, epoch: int, order: NDArray[np.int64], parts: Sequence[slice]) -> None:
        """See `Backend`."""
        shares = [share(part, self.group.rank, self.group.size) for part in parts]
        own = [part for part, _ in shares]
        require_training_batches(self.model.graph, parts)
        require_training_batch(self.model.graph, min(part.stop - part.start for part in own))
        job = self.job
        numbers = draw_for(job.augment, job.data, self._picture, job.seed, epoch)
        drawn = torch.from_numpy(numbers[order]).to(self.device)
        weights = self._shares_of_losses(order, parts, shares)
        self._steps = (
            (x, y, drawn[part], each)
            for (x, y), part, each in zip(
                self._feeds["steps"].batches(order, own), own, weights, strict=True
            )
        )
        self.model.start_training()

    def _shares_of_losses(
        self,
        order: NDArray[np.int64],
        parts: Sequence[slice],
        shares: Sequence[tuple[slice, float]],
    ) -> list[tuple[float, ...]]:
        """Return the weights of this process's losses in each batch: the main one's, and the others'."""
        labels = self.job.data.y_train
        columns = []
        for loss in (self.job.loss, *(term.loss for term in self.job.also)):
            kind = targets_of(loss)
            counts = np.ones(len(order), np.int64) if kind is None else kind.counts(labels)[order]
            columns.append(
                [
                    share_of_targets(counts, part, own, weight)
                    for part, (own, weight) in zip(parts, shares, strict=True)
                ]
            )
        return [*zip(*columns, strict=True)]

    def step(self, lr: float) -> None:
        """See `Backend`."""
        x, y, drawn, weights = next(self._steps)
        x = self._prepare(x, drawn)
        set_rate(self._optimizer, lr)
        self._optimizer.zero_grad(set_to_none=not self._has_unused)
        self._last = x
        loss = self._gradients(x, y, weights)
        self._pending.append(self._shown(loss))
        if self._alone and not torch.isfinite(loss):
            # As in NumPy, the weights are not changed, so that the fault can be located.
            return
        self._finish_gradients()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._follow()

    def _gradients(self, x: Batch, y: Tensor, weights: Sequence[float]) -> Tensor:
        """Compute the gradients of a batch, in as many parts as the job says; returns the loss."""
        parts = divided(len(y), self.job.accumulate)
        shares = [[1.0] * len(weights)]
        if len(parts) > 1:
            losses = (self.job.loss, *(term.loss for term in self.job.also))
            shares = shares_of_parts(losses, y.cpu().numpy(), parts)
        total = torch.zeros((), device=self.device, dtype=self.model.torch_dtype)
        for part, each in zip(parts, shares, strict=True):
            some = x if len(parts) == 1 else {name: of[part] for name, of in x.items()}
            own = [weight * s for weight, s in zip(weights, each, strict=True)]
            # Processes exchange gradients once, with those of the last part.
            last = part is parts[-1] or not isinstance(self._wrapped, DistributedDataParallel)
            with nullcontext() if last else self._wrapped.no_sync():
                loss = self._loss(some, y[part], own)
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
        if self._average is not None and self.job.ema is not None:
            new = 1.0 - decay_at(self.job.ema, self._steps_done)
            torch._foreach_lerp_(self._average, [p.detach() for p in self._all()], new)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Context manager: the module has the average of its weights, if the job averages them."""
        if self._average is None:
            yield
            return
        own = [p.detach() for p in self._all()]
        last = [p.clone() for p in own]
        torch._foreach_copy_(own, self._average)
        try:
            yield
        finally:
            torch._foreach_copy_(own, last)

    def _change_and_normalize(self, x: Batch, drawn: Tensor) -> Batch:
        """Augment and normalize stored training images."""
        if self._picture is None:
            return self._normalized(x)
        kinds, name = self.job.augment, input_name(self.model.graph, self._picture)
        changed = self._normalized({**x, name: shift_and_flip(x[name], drawn, kinds)})
        return {**changed, name: cut_out(changed[name], drawn, kinds)}

    def _normalized(self, x: Batch) -> Batch:
        return {name: self._normalizers[name](each) for name, each in x.items()}

    def _arguments(self, x: Batch) -> list[Tensor]:
        """Return a normalized batch as the module takes it."""
        return [self.model.stored(x[name], name) for name in self.model.graph.inputs]

    def _loss(self, x: Batch, y: Tensor, weights: Sequence[float]) -> Tensor:
        """Return this process's part of the batch's mean loss, without the L2 term."""
        with self.model.autocast():
            outputs = self._train(*self._arguments(x))
        dtype = self.model.torch_dtype
        main, *others = weights
        loss = main * self.job.loss.in_torch(self.model.chosen_output(outputs).to(dtype), y)
        for term, weight in zip(self.job.also, others, strict=True):
            found = self.model.chosen_output(outputs, term.output)
            loss = loss + weight * term.weight * term.loss.in_torch(found.to(dtype), y)
        return loss

    def _shown(self, loss: Tensor) -> Tensor:
        """Return this process's part of the loss to report. The first process's includes the L2 term."""
        loss = loss.double()
        if not (self.job.l2 and self.writes):
            return loss
        alike: dict[float, list[Tensor]] = {}
        for each in self._trained:
            if each.decay:
                alike.setdefault(each.decay, []).append(each.tensor.detach())
        for decay, tensors in alike.items():
            norm = torch.nn.utils.get_total_norm(tensors)
            loss = loss + 0.5 * self.job.l2 * decay * norm.double() ** 2
        return loss

    def _differentiate(self, loss: Tensor) -> None:
        """Compute the gradients. They are 0 where nothing that is trained changes the loss."""
        if loss.requires_grad:
            loss.backward()
            return
        for parameter in self._all():
            parameter.grad = torch.zeros_like(parameter)

    def _finish_gradients(self) -> None:
        """Add the gradient terms that the backward pass does not compute, and clip."""
        if not self._adds_l2 and self.job.clip_norm is None:
            return
        self._scaler.unscale_(self._optimizer)
        if self._adds_l2:
            for each in self._trained:
                assert each.tensor.grad is not None
                if each.decay:
                    own = each.tensor.detach()
                    each.tensor.grad.add_(own, alpha=self.job.l2 * each.decay)
        if self.job.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._all(), self.job.clip_norm)

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
        starts = range(self.group.rank * batch, len(order), batch * self.group.size)
        parts = [slice(start, min(start + batch, len(order))) for start in starts]
        self.group.follow_first(self.model.module)
        self.model.module.eval()
        kind = targets_of(self.job.loss) or OF_CLASSES
        sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        with torch.no_grad(), self._averaged():
            for (x, y), part in zip(self._feeds[name].batches(order, parts), parts, strict=True):
                if stop():
                    break
                with self.model.autocast():
                    outputs = self._evaluate(*self._arguments(self._normalized(x)))
                own = slice(count - part.start)
                scores, y = self.model.chosen_output(outputs)[own], y[own]
                sums[:2] += kind.judge_in_torch(scores, y)
                if self.job.perplexes:
                    mean = SoftmaxCrossEntropy().in_torch(scores.to(self.model.torch_dtype), y)
                    sums[2] += mean.double() * (y != IGNORED).sum()
        right, counted, loss = self.group.total(sums).tolist()
        return Measured.of(right, counted, loss if self.job.perplexes else None)

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
        for number, name in enumerate(self._names):
            for key, value in state.get(number, {}).items():
                if value is not None:
                    array = torch.as_tensor(value).detach().cpu().numpy()
                    tensors[f"optimizer.{name}.{key}"] = np.array(array, order="C")
        for rank, own in enumerate(self._each_random(torch.get_rng_state())):
            tensors[f"random.cpu.{rank}"] = own
        if self.device.type == "cuda":
            for rank, own in enumerate(self._each_random(torch.cuda.get_rng_state(self.device))):
                tensors[f"random.cuda.{rank}"] = own
        for name, average in zip(self._names, self._average or (), strict=False):
            tensors[f"average.{name}"] = average.cpu().numpy().copy()
        facts = {"scaler": self._scaler.state_dict(), "steps": self._steps_done}
        return Snapshot(tensors, facts)

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
            for name, average in zip(self._names, self._average or (), strict=False):
                average.copy_(torch.from_numpy(averages[name]))
            # Checkpoints of older versions have none.
            self._steps_done = int(snapshot.facts.get("steps", 0))
            random = snapshot.part("random")
            rank = self.group.rank
            torch.set_rng_state(torch.from_numpy(random[f"cpu.{rank}"]))
            if self.device.type == "cuda" and f"cuda.{rank}" in random:
                torch.cuda.set_rng_state(torch.from_numpy(random[f"cuda.{rank}"]), self.device)
            if snapshot.facts["scaler"] and self._scaler.is_enabled():
                self._scaler.load_state_dict(snapshot.facts["scaler"])

    def _optimizer_state(self, given: Mapping[str, NDArray[Any]]) -> dict[int, dict[str, Tensor]]:
        """Convert the optimizer's state from arrays by name to torch's form, by parameter number."""
        state: dict[int, dict[str, Tensor]] = {}
        parameters = self._all()
        numbers = {name: number for number, name in enumerate(self._names)}
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
        for number, name in enumerate(self._names if state else ()):
            shape = tuple(parameters[number].shape)
            kept = {key for key in self._rule.state_names if self._rule.keeps(key, shape)}
            lacking = kept - {*state.get(number, {})}
            wrong += [f"missing: `optimizer.{name}.{key}`" for key in sorted(lacking)]
        if wrong:
            message = "the checkpoint does not fit the net"
            raise NetspecError([Diagnostic(codes.RUN_CHECKPOINT, message, notes=tuple(wrong))])
        return state

    def last_step(self) -> LastStep | None:
        """See `Backend`. On a GPU the weights have already changed when a loss is read."""
        if not self._alone or self._last is None:
            return None
        dtype = self.model.torch_dtype
        x = {name: each.detach().to(dtype).numpy() for name, each in self._last.items()}
        return LastStep(self.model.graph, self.model.frozen, self.model.every_array(), x)
