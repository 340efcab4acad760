"""`netspec train FILE`, `netspec train c FILE`, `train torch FILE` and `train --resume RUN`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from netspec import codes
from netspec.cli import FAILED, OK
from netspec.cli.common import emit, tell
from netspec.cli.data_of_run import data_of_run
from netspec.cli.interrupts import until_stopped
from netspec.cli.train_log import kept_in, training_log
from netspec.cli.training_plan import TrainingPlan, make_plan
from netspec.diagnostics import NetspecError, plural

if TYPE_CHECKING:
    from logging.handlers import MemoryHandler

    from netspec.runtime.data.dataset import Dataset
    from netspec.runtime.data.input_normalization import InputNormalization
    from netspec.runtime.models.history import History
    from netspec.runtime.models.numpy_model import Model
    from netspec.runtime.models.pytorch.model import TorchModel
    from netspec.runtime.models.pytorch.processes import ProcessGroup
    from netspec.runtime.runs.recorder import RunRecorder
    from netspec.runtime.runs.resolve import Settings
    from netspec.runtime.training.plan import TrainingOptions

_LOG = logging.getLogger(__name__)

# Of so many test images, mistakes are shown in TensorBoard.
_LOOKED_AT = 2000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options; choices come from the names that the library knows."""
    from netspec.cli.training_options import configure as declare

    declare(parser)


def run(options: argparse.Namespace) -> int:
    """Train. Each epoch is a line on stderr, and the final accuracy is a line on stdout."""
    from netspec.cli.training_options import settle_target

    settle_target(options)
    if options.find_lr is not None:
        _settle_search(options)
    target = options.target
    if options.resume is not None and target is None:
        from netspec.runtime.runs.folder import RunFolder

        target = RunFolder(options.resume).facts().target
    if target != "torch":
        return _run_here(options)
    from netspec.runtime.models.torch_build import require_torch

    require_torch()
    from netspec.runtime.models.pytorch.processes import from_environment

    group = from_environment()
    try:
        return _run_torch(options, group)
    except NetspecError as error:
        if group.rank == 0:
            raise
        # The first process reports the error that all of them ran into; this error may be one
        # process's own.
        first = error.diagnostics[0]
        tell(f"process {group.rank}: error[{first.code}]: {first.message}")
        return FAILED


def _settle_search(options: argparse.Namespace) -> None:
    """Settle a search for a learning rate, which keeps no run.

    Raises:
        NetspecError: `usage/train`, `usage/picture`, `library/matplotlib`, `output/not-generated`.
    """
    from netspec.cli.output_place import check_output
    from netspec.runtime.plots.figures import check_picture_path, require_matplotlib

    if options.resume is not None:
        message = "--find-lr looks for the rate of a new run, not for one that goes on"
        raise NetspecError.simple(codes.USAGE_TRAIN, message)
    check_picture_path(options.find_lr)
    require_matplotlib()
    check_output(options.find_lr, [options.file] if options.file else (), force=options.force)
    options.out = "none"


def _run_here(options: argparse.Namespace) -> int:
    from netspec.kernels import parallel

    plan = make_plan(options)
    if plan.threads is not None:
        from netspec.runtime.engine import threads

        threads.limit(plan.threads)
    settings = plan.settings
    _require_room(plan)
    target: Literal["numpy", "c"] = "c" if plan.target == "c" else "numpy"
    if target == "c":
        from netspec.runtime.engine.native.require import require_c

        require_c(plan.net.graph, training=True)
    model = plan.net.compile(target, dtype=settings["dtype"], seed=settings["seed"])
    return _train(plan, model, parallel.threads(), search=options.find_lr)


def _run_torch(options: argparse.Namespace, group: ProcessGroup) -> int:
    import torch

    from netspec.runtime.models.pytorch.device import Execution, choose_device
    from netspec.runtime.models.pytorch.model import TorchModel
    from netspec.runtime.models.pytorch.processes import joined
    from netspec.runtime.models.torch_build import build_module

    plan = make_plan(options, writes=group.rank == 0)
    settings = plan.settings
    if plan.threads is not None:
        torch.set_num_threads(plan.threads)
    device = choose_device(settings["device"], group)
    if device.type == "cpu":
        _require_room(plan)
    compiler = "inductor" if settings["compile"] else None
    execution = Execution(
        device, settings["amp"], settings["channels-last"], compiler, group,
        settings["sync-batch-norm"], settings["compile-mode"],
        {"on": True, "off": False}.get(settings["fused"]),
    )  # fmt: skip
    module = build_module(plan.net, dtype=settings["dtype"], seed=settings["seed"])
    with joined(group, device):
        model = TorchModel(plan.net.graph, module, execution)
        threads = torch.get_num_threads()
        return _train(plan, model, threads, group.rank, group.size, search=options.find_lr)


def _require_room(plan: TrainingPlan) -> None:
    """Refuse parameters that do not fit into memory, before they are drawn, which takes time.

    Raises:
        NetspecError: `limit/memory`.
    """
    import numpy as np

    from netspec.runtime.models.memory_check import parameter_copies
    from netspec.runtime.models.room import require_room_for_parameters

    settings = plan.settings
    itemsize = np.dtype(settings["dtype"]).itemsize
    copies = parameter_copies(
        settings["optimizer"],
        settings.keywords("optimizer"),
        averages=settings["ema"] is not None,
    )
    require_room_for_parameters(plan.net.graph, itemsize, copies)


def _train(
    plan: TrainingPlan,
    model: Model | TorchModel,
    threads: int,
    rank: int = 0,
    processes: int = 1,
    *,
    search: Path | None = None,
) -> int:
    """Train; or look for a rate, and draw that into the picture `search`."""
    with training_log(quiet=plan.settings["quiet"], writes=rank == 0) as waiting:
        for note in plan.notes:
            _LOG.log(note.level, "%s", note.text)
        if search is not None:
            return _search(plan, model, search, writes=rank == 0)
        if rank:
            return _train_logged(plan, model, threads, rank, processes, waiting)
        with plan.placed() as placed:
            return _train_logged(placed, model, threads, rank, processes, waiting)


def _train_logged(
    plan: TrainingPlan,
    model: Model | TorchModel,
    threads: int,
    rank: int,
    processes: int,
    waiting: MemoryHandler,
) -> int:
    from netspec.runtime.training.fit import fit
    from netspec.runtime.training.loop import TrainingRecorder

    settings = plan.settings
    data, choices = _data_and_options(plan, model)
    _LOG.info(_choices(settings))
    if settings["compile"]:
        _LOG.info(
            "torch.compile: the first steps and the first evaluation take longer, because they compile"
        )
    recorder = plan.recorder(data, threads, processes, rank == 0)
    told = recorder or TrainingRecorder()
    told.doctor = plan.doctor()
    with until_stopped() as wish, kept_in(recorder, waiting):
        history = fit(
            model,
            data,
            **choices.keywords(),
            out=plan.weights,
            stop=wish,
            max_seconds=settings["max-seconds"],
            progress=not settings["quiet"],
            log_every=settings["log-every"],
            recorder=told,
        )
        is_over = history.stopped and settings["max-seconds"] is not None and not wish()
        if history.stopped and not is_over:
            _LOG.info(f"stopped by {wish.name} after {len(history.loss_history):,} steps")
        if rank == 0 and settings["tensorboard"] and plan.folder is not None:
            _show_mistakes(plan.folder, settings, model, data, history)
        _log_what_is_there(plan, recorder, history)
    if history.stopped and not is_over:
        return wish.code
    if is_over and rank == 0:
        steps = plural(len(history.loss_history), "step")
        emit(f"stopped after {settings['max-seconds']:g} s (--max-seconds), {steps}")
    elif rank == 0:
        emit(_result(history))
    return OK


def _show_mistakes(
    folder: Path, settings: Settings, model: Model | TorchModel, data: Dataset, history: History
) -> None:
    """Show TensorBoard the mistakes of a run that has ended, among its first test images."""
    from netspec.runtime.models.mistakes import MOST, can_be_drawn, drawn, listed, surest_mistakes
    from netspec.runtime.optim.losses import LOSSES_OF_CLASSES
    from netspec.runtime.plots.png import png_bytes
    from netspec.runtime.runs.tracking.tensorboard import Events
    from netspec.runtime.weights.data_facts import complete

    x, y = data.x_test[:_LOOKED_AT], data.y_test[:_LOOKED_AT]
    fits = can_be_drawn(x, y) and settings["loss"] in LOSSES_OF_CLASSES
    if history.stopped or not len(x) or not fits:
        return
    found = surest_mistakes(model, x, y, history.normalization, MOST)
    if not found:
        return
    picture, scale = drawn(x, found)
    lines = listed(found, complete(data.class_names, model.classes))
    events = Events(folder, 0)
    events.write_mistakes(
        len(history.loss_history), png_bytes(picture, scale),
        (picture.shape[0] * scale, picture.shape[1] * scale), "\n".join(f"    {line}" for line in lines),
    )  # fmt: skip
    events.close("finished")


def _data_and_options(
    plan: TrainingPlan, model: Model | TorchModel
) -> tuple[Dataset, TrainingOptions]:
    """Load data and weights; returns the data, and the options of `fit`."""
    from netspec.runtime.data.catalog import load
    from netspec.runtime.models.classifier_shape import only_input_shape

    settings = plan.settings
    normalization = _prepare(plan, model)
    folder = Path(settings["data-dir"]) if settings["data-dir"] else None
    before = None if plan.resumed is None else plan.resumed.folder.path
    with data_of_run(before, settings["data"], plan.asked):
        data = load(
            settings["data"], folder, only_input_shape(model.graph), resize=settings.resize,
            on_demand=settings.decodes_on_demand, code=plan.asked == settings["data"],
            ignore_index=settings["ignore-index"], tokens=plan.tokens,
        ).for_training()  # fmt: skip
    _LOG.info("%s on %s: %s", plan.net.name, _named(data), _images(data, settings))
    return data, settings.training_options(normalization)


def _search(plan: TrainingPlan, model: Model | TorchModel, picture: Path, *, writes: bool) -> int:
    """Look for a learning rate, draw the losses, and print the rate."""
    from netspec.runtime.training.rate_finder import find_rate

    data, choices = _data_and_options(plan, model)
    with until_stopped() as wish:
        found = find_rate(model, data, stop=wish, **choices.of_a_step())
        if wish():
            return wish.code
    if writes:
        found.plot(picture)
        _LOG.info(f"{plural(len(found.losses), 'step')}, drawn in {picture}")
        if found.suggestion is not None:
            _LOG.info(
                "the loss fell fastest at this rate: begin with it, and compare three times as much"
                " and a third of it"
            )
        emit(str(found))
    return OK if found.suggestion is not None else FAILED


def _named(data: Dataset) -> str:
    """Return the name of a data set, and of digits that are larger than they are stored how they are."""
    from netspec.runtime.data.digits import SIDE

    shape = data.x_train.shape[1:]
    if data.name != "digits" or len(shape) != 3 or shape[1:] == (SIDE, SIDE):
        return data.name
    return f"{data.name} ({SIDE} x {SIDE}, resized to {shape[1]} x {shape[2]})"


def _images(data: Dataset, settings: Settings) -> str:
    """Describe how many images or windows of a text are used, and for what."""
    from netspec.runtime.data.batches import TRAIN_SAMPLE
    from netspec.runtime.data.held_out import held_out_count

    there = len(data.x_train)
    held = held_out_count(there, settings["val"])
    used = min(there - held, settings["train-limit"] or there)
    of = f" of {there:,}" if used < there else ""
    parts = [f"{used:,}{of} training {data.samples}"]
    if used > TRAIN_SAMPLE:
        parts[0] += f" (their accuracy is that of {TRAIN_SAMPLE:,})"
    parts += [f"{held:,} for validation"] if held else []
    when = "" if settings["test-every"] or not len(data.x_test) else " at the end"
    return ", ".join([*parts, f"{len(data.x_test):,} test {data.samples}{when}"])


def _choices(settings: Settings) -> str:
    """Describe the choices that have the most influence on the run."""
    every = settings["eval-every"]
    when = (
        f", accuracies {f'every {every} epochs' if every else 'at the end'}" if every != 1 else ""
    )
    return (
        f"{settings['optimizer']}, learning rate {settings['lr']:g}, {settings['schedule']};"
        f" batches of {settings['batch']}, {plural(settings['epochs'], 'epoch')}{when}"
    )


def _log_what_is_there(plan: TrainingPlan, recorder: RunRecorder | None, history: History) -> None:
    if plan.weights is not None:
        _LOG.info(f"weights saved to {plan.weights}")
    if recorder is not None and (better := _better_epoch(plan, history)) is not None:
        best = recorder.folder.best
        if best.is_file():
            _LOG.info(f"those of epoch {better}, the best in validation so far, are in {best}")
    if recorder is not None and history.stopped:
        _LOG.info(f"continue it: netspec train --resume {recorder.folder.path}")


def _better_epoch(plan: TrainingPlan, history: History) -> int | None:
    """Return the epoch of a resumed run whose weights were better in validation than those it leaves."""
    if plan.resumed is None or plan.settings["keep"] == "best":
        return None
    epochs = len(history.epoch_seconds)
    scores = {epoch: history.score(epoch) for epoch in range(1, epochs + 1)}
    known = {epoch: score for epoch, score in scores.items() if score is not None}
    best = max(known, key=lambda epoch: known[epoch], default=epochs)
    return None if best == epochs and not history.stopped else best or None


def _prepare(plan: TrainingPlan, model: Model | TorchModel) -> InputNormalization | None:
    """Load `--weights` and freeze parameters.

    Returns:
        The normalization, if it is known before the images are seen: that of the checkpoint or the
        weights.
    """
    from netspec.runtime.data.input_normalization import normalization_from_json
    from netspec.runtime.training.transfer import choose_frozen, start_from
    from netspec.runtime.weights.rename_rules import load_renamed

    settings, normalization = plan.settings, None
    if plan.checkpoint is not None:  # it has the weights and the normalization
        normalization = normalization_from_json(str(plan.checkpoint.state.get("normalization")))
    elif settings["weights"] is not None:
        weights = load_renamed(Path(settings["weights"]), settings["rename"])
        normalization = weights.normalization
        first, *others = start_from(model, weights.tensors).lines()
        notes = [f"  {note}" for note in weights.notes]
        _LOG.info("\n".join([f"{settings['weights']}: {first}", *notes, *others]))
        if (settings.normalize, "normalize" in settings.given) == ("channel", False):
            _LOG.info("note: " + _other_normalization(weights.normalization is not None))
    if settings["freeze"] or settings["train-only"]:
        graph = plan.net.graph
        frozen = choose_frozen(graph, settings["freeze"], settings["train-only"])
        model.freeze(frozen)
        trained = [p for p in graph.trainable() if p.name not in frozen]
        size = sum(p.size for p in trained)
        _LOG.info(f"training {size:,} parameters, {len(frozen)} tensors frozen")
    if plan.checkpoint is not None:
        return normalization
    if settings["normalize"] != "weights":
        return None
    if normalization is None:
        none = settings["weights"] is None
        why = "there are no --weights" if none else "the file does not say how"
        raise NetspecError.simple(codes.TRAIN_BAD_OPTION, f"--normalize weights: {why}")
    return normalization


def _other_normalization(is_known: bool) -> str:
    """Return that new statistics are fitted below weights that had others, and how to keep those."""
    chosen = "inputs are normalised by the mean and deviation of this data"
    if is_known:
        return f"{chosen}: --normalize weights keeps what the weights were trained with"
    return (
        f"{chosen}; the weights file does not say how its inputs were normalised: --normalize none"
        " leaves them as they are, and --normalize imagenet or --mean and --std give others"
    )


def _result(history: History) -> str:
    epoch = history.kept_epoch
    is_best = epoch < len(history.epoch_seconds)
    best = f" (epoch {epoch}, the best in validation)" if is_best else ""
    tested, trained = (history.accuracy(name, epoch) for name in ("test", "train"))
    if tested is not None:
        return f"test accuracy {100 * tested:.2f} %{_perplexity(history, 'test')}{best}"
    if trained is None:  # the loss is the output of the net
        of_test = history.measure("test_loss", epoch)
        if of_test is not None:
            return f"test loss {of_test:.4f}{best}"
        steps = len(history.loss_history) // epoch
        return f"loss {sum(history.loss_history[-steps:]) / steps:.4f}"
    held_out = history.accuracy("val", epoch)
    if is_best and held_out is not None:
        shown = f"validation accuracy {100 * held_out:.2f} %{_perplexity(history, 'val')}"
        return f"{shown}{best}; there are no test images"
    return f"train accuracy {100 * trained:.2f} %{_perplexity(history, 'train')}" + (
        " (there are no test images)"
    )


def _perplexity(history: History, name: str) -> str:
    value = history.perplexity(name, history.kept_epoch)
    return "" if value is None else f", perplexity {value:.4g}"
