"""`netspec train numpy FILE` and `netspec train torch FILE`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from netspec.cli import FAILED, OK, TERMINATED
from netspec.cli.common import add_net_options, checked_net, emit, natural, positive
from netspec.cli.stopping import until_sigterm
from netspec.diagnostics import NetspecError

if TYPE_CHECKING:
    from netspec.net import Net
    from netspec.runtime.history import History
    from netspec.runtime.model import Model
    from netspec.runtime.normalization import Normalization
    from netspec.runtime.pytorch.group import Group
    from netspec.runtime.pytorch.model import TorchModel

T = TypeVar("T")

# Options that only PyTorch has, and what each is without being given.
_TORCH_ONLY: dict[str, Any] = {
    "device": "auto", "amp": "off", "compile": False, "channels_last": False, "augment": [],
}  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """The options, with the names that the library knows."""
    parser.add_argument("target", choices=("numpy", "torch"), help="what the net is compiled to")
    parser.add_argument("file", metavar="FILE", type=Path, help="a .net file")
    add_net_options(parser)
    _add_data_options(parser.add_argument_group("data"))
    _add_training_options(parser.add_argument_group("training"))
    _add_torch_options(parser.add_argument_group("PyTorch"))


def _add_data_options(data: argparse._ArgumentGroup) -> None:
    from netspec.runtime.augmentation import KINDS as AUGMENTATIONS
    from netspec.runtime.data.catalog import NAMES
    from netspec.runtime.normalization import KINDS

    data.add_argument(
        "--data", default="digits", metavar="NAME",
        help=f"{', '.join(NAMES)}, or an .npz file with x_train, y_train, x_test, y_test"
        " (default digits)",
    )  # fmt: skip
    data.add_argument("--data-dir", type=Path, metavar="DIR", help="where to look for it first")
    data.add_argument("--normalize", choices=(*KINDS, "weights"), default="channel",
                      help="what is done to the images (default channel); weights: what was done"
                      " for those of --weights")  # fmt: skip
    data.add_argument("--val", type=natural, default=0, metavar="N",
                      help="hold out the last N training images for validation")  # fmt: skip
    data.add_argument("--train-limit", type=positive, metavar="N",
                      help="train on the first N images only")  # fmt: skip
    data.add_argument("--augment", type=_list_of(str), metavar="LIST",
                      help=f"random changes: {','.join(AUGMENTATIONS)} (PyTorch)")  # fmt: skip


def _add_training_options(steps: argparse._ArgumentGroup) -> None:
    from netspec.runtime.keeper import KEEP
    from netspec.runtime.losses import LOSSES
    from netspec.runtime.model import DTYPES
    from netspec.runtime.optimizers import OPTIMIZERS
    from netspec.runtime.schedules import SCHEDULES

    steps.add_argument("--epochs", type=positive, default=10, metavar="N", help="(default 10)")
    steps.add_argument("--batch", type=positive, default=64, metavar="N",
                       help="images in a step, over all processes (default 64)")  # fmt: skip
    steps.add_argument("--optimizer", choices=tuple(OPTIMIZERS), default="adam",
                       help="(default adam)")  # fmt: skip
    steps.add_argument("--lr", type=float, metavar="RATE",
                       help="learning rate (default: the optimizer's)")  # fmt: skip
    steps.add_argument("--schedule", choices=tuple(SCHEDULES), default="cosine",
                       help="how the rate changes (default cosine)")  # fmt: skip
    steps.add_argument("--milestones", type=_list_of(int), metavar="LIST",
                       help="epochs after which the multi-step schedule lowers the rate")  # fmt: skip
    steps.add_argument("--gamma", type=float, metavar="G",
                       help="what a step of the schedule multiplies the rate by")  # fmt: skip
    steps.add_argument("--warmup", type=natural, default=0, metavar="N",
                       help="let the rate rise over the first N epochs")  # fmt: skip
    steps.add_argument("--loss", choices=tuple(LOSSES), default="softmax",
                       help="(default softmax, the cross-entropy)")  # fmt: skip
    steps.add_argument("--label-smoothing", type=float, metavar="E",
                       help="give the other classes E of the softmax's target")  # fmt: skip
    steps.add_argument("--l2", type=float, default=0.0, metavar="R",
                       help="add R/2 sum(W^2) over the weights to the loss")  # fmt: skip
    steps.add_argument("--clip-norm", type=float, metavar="R",
                       help="scale longer gradients down to this norm")  # fmt: skip
    steps.add_argument("--dtype", choices=tuple(DTYPES), default="float32",
                       help="(default float32)")  # fmt: skip
    steps.add_argument("--seed", type=natural, default=0, metavar="N",
                       help="equal seeds give equal weights, bit for bit (default 0)")  # fmt: skip
    steps.add_argument("--threads", type=positive, metavar="N",
                       help="threads for the arithmetic (default: the libraries')")  # fmt: skip
    steps.add_argument("--weights", type=Path, metavar="FILE",
                       help="start from these, a safetensors file or PyTorch's .pth: what matches"
                       " by name and shape is loaded")  # fmt: skip
    steps.add_argument("--freeze", action="append", default=[], metavar="PATTERN",
                       help="leave the parameters alone whose names match, such as 'layer1.*';"
                       " may be repeated")  # fmt: skip
    steps.add_argument("--out", type=Path, metavar="FILE",
                       help="save the weights here as safetensors; without it nothing is"
                       " saved")  # fmt: skip
    steps.add_argument("--keep", choices=KEEP, default="last",
                       help="the weights to save: of the last step (default), or of the epoch with"
                       " the best validation accuracy")  # fmt: skip


def _add_torch_options(torch: argparse._ArgumentGroup) -> None:
    torch.add_argument("--device", choices=("auto", "cpu", "cuda"),
                       help="(default auto: a GPU where there is one)")  # fmt: skip
    torch.add_argument("--amp", choices=("bf16", "fp16", "off"),
                       help="mixed precision (default off)")  # fmt: skip
    torch.add_argument("--compile", action="store_true", default=None, help="use torch.compile")
    torch.add_argument("--channels-last", action="store_true", default=None,
                       help="store pictures with the channels last, faster on GPUs")  # fmt: skip


def _list_of(kind: Callable[[str], T]) -> Callable[[str], list[T]]:
    def convert(text: str) -> list[T]:
        return [kind(part) for part in text.split(",") if part]

    convert.__name__ = "list"  # argparse's word for it
    return convert


def run(options: argparse.Namespace) -> int:
    """Train; an epoch is a line on stderr, the accuracy at the end a line on stdout."""
    if options.target == "numpy":
        return _run_numpy(options)
    for name, value in _TORCH_ONLY.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    from netspec.runtime.torch_module import require_torch

    require_torch()
    from netspec.runtime.pytorch.group import from_environment

    group = from_environment()
    try:
        return _run_torch(options, group)
    except NetspecError as error:
        if group.rank == 0:
            raise
        # The first process shows the whole of what all ran into; this may be one's own.
        first = error.diagnostics[0]
        print(f"process {group.rank}: error[{first.code}]: {first.message}", file=sys.stderr)
        return FAILED


def _run_numpy(options: argparse.Namespace) -> int:
    given = [name for name in _TORCH_ONLY if getattr(options, name)]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise NetspecError.simple("train/bad-option", f"{flags}: for `netspec train torch` only")
    options.augment = []
    net = checked_net(options)
    if options.threads is not None:
        from netspec.runtime import threads

        threads.limit(options.threads)
    model = net.compile("numpy", dtype=options.dtype, seed=options.seed)
    return _train(options, net, model, writes=True)


def _run_torch(options: argparse.Namespace, group: Group) -> int:
    import torch

    from netspec.runtime.pytorch.device import Execution, choose_device
    from netspec.runtime.pytorch.group import joined
    from netspec.runtime.pytorch.model import TorchModel
    from netspec.runtime.torch_module import build_module

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = choose_device(options.device, group)
    compiler = "inductor" if options.compile else None
    execution = Execution(device, options.amp, options.channels_last, compiler, group)
    net = checked_net(options)
    module = build_module(net, dtype=options.dtype, seed=options.seed)
    with joined(group, device):
        model = TorchModel(net.graph, module, execution)
        return _train(options, net, model, writes=group.rank == 0)


def _train(
    options: argparse.Namespace, net: Net, model: Model | TorchModel, *, writes: bool
) -> int:
    from netspec.runtime.data.catalog import load
    from netspec.runtime.trainer import fit

    say = _say if writes else _say_nothing
    if options.out is not None:
        _check_writable(options.out)
    normalization = _prepare(options, net, model, say)
    data = load(options.data, options.data_dir, model.input_shape)
    say(
        f"{net.name} on {data.name}: {len(data.x_train):,} training images,"
        f" {len(data.x_test):,} test images"
    )
    with until_sigterm() as stop:
        history = fit(
            model,
            data,
            epochs=options.epochs,
            batch=options.batch,
            optimizer=options.optimizer,
            lr=options.lr,
            schedule=options.schedule,
            loss=options.loss,
            l2=options.l2,
            clip_norm=options.clip_norm,
            seed=options.seed,
            val=options.val,
            normalize=normalization or options.normalize,
            augment=options.augment,
            train_limit=options.train_limit,
            warmup=options.warmup,
            schedule_options=_given(options, "milestones", "gamma"),
            loss_options=_given(options, "label_smoothing"),
            keep=options.keep,
            out=options.out,
            stop=stop,
            progress=True,
        )
    if history.stopped:
        say(f"stopped by SIGTERM after {len(history.loss_history):,} steps")
    if options.out is not None:
        say(f"weights saved to {options.out}")
    if history.stopped:
        return TERMINATED
    if writes:
        emit(_result(history))
    return OK


def _prepare(
    options: argparse.Namespace, net: Net, model: Model | TorchModel, say: Callable[[str], None]
) -> Normalization | None:
    """Load `--weights`, freeze; the normalisation of the weights, where that is asked for."""
    from netspec.runtime.transfer import choose_frozen, read_weights, start_from

    normalization = None
    if options.weights is not None:
        weights = read_weights(options.weights)
        normalization = weights.normalization
        lines = start_from(model, weights.tensors).lines()
        say("\n".join([f"{options.weights}: {next(lines)}", *lines]))
    if options.freeze:
        frozen = choose_frozen(net.graph, options.freeze)
        model.freeze(frozen)
        trained = [p for p in net.graph.trainable() if p.name not in frozen]
        say(f"training {sum(p.size for p in trained):,} parameters, {len(frozen)} tensors frozen")
    if options.normalize != "weights":
        return None
    if normalization is None:
        why = "there are no --weights" if options.weights is None else "the file says nothing of it"
        raise NetspecError.simple("train/bad-option", f"--normalize weights: {why}")
    return normalization


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options among these that were given."""
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _say_nothing(text: str) -> None:
    """What all but the first of several processes say."""


def _result(history: History) -> str:
    at = history.kept_epoch - 1
    best = (
        f" (epoch {at + 1}, the best in validation)"
        if at + 1 < len(history.train_acc_history)
        else ""
    )
    if history.test_acc_history:
        return f"test accuracy {100 * history.test_acc_history[at]:.2f} %{best}"
    return f"train accuracy {100 * history.train_acc_history[at]:.2f} % (there are no test images)"


def _check_writable(path: Path) -> None:
    """Refuse now what could not be saved after hours of training.

    Raises:
        NetspecError: `output/unwritable`.
    """
    folder = path.parent
    if path.is_dir():
        reason = "it is a folder"
    elif not folder.is_dir():
        reason = f"there is no folder {folder}"
    elif not os.access(folder, os.W_OK):
        reason = f"the folder {folder} is not writable"
    else:
        return
    raise NetspecError.simple("output/unwritable", f"cannot write {path}: {reason}")
