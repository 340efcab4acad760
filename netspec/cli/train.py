"""`netspec train numpy FILE`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.cli import OK
from netspec.cli.common import add_net_options, checked_graph, emit, natural, positive
from netspec.diagnostics import NetspecError

if TYPE_CHECKING:
    from netspec.runtime.trainer import History


def configure(parser: argparse.ArgumentParser) -> None:
    """The options, with the names that the library knows."""
    from netspec.runtime.data.catalog import NAMES
    from netspec.runtime.losses import LOSSES
    from netspec.runtime.normalization import KINDS
    from netspec.runtime.optimizers import OPTIMIZERS
    from netspec.runtime.schedules import SCHEDULES

    parser.add_argument("target", choices=("numpy",), help="what the net is compiled to")
    parser.add_argument("file", metavar="FILE", type=Path, help="a .net file")
    add_net_options(parser)

    data = parser.add_argument_group("data")
    data.add_argument(
        "--data", default="digits", metavar="NAME",
        help=f"{', '.join(NAMES)}, or an .npz file with x_train, y_train, x_test, y_test"
        " (default digits)",
    )  # fmt: skip
    data.add_argument("--data-dir", type=Path, metavar="DIR", help="where to look for it first")
    data.add_argument("--normalize", choices=KINDS, default="channel",
                      help="what is done to the images (default channel)")  # fmt: skip
    data.add_argument("--val", type=natural, default=0, metavar="N",
                      help="hold out the last N training images for validation")  # fmt: skip
    data.add_argument("--train-limit", type=positive, metavar="N",
                      help="train on the first N images only")  # fmt: skip

    steps = parser.add_argument_group("training")
    steps.add_argument("--epochs", type=positive, default=10, metavar="N", help="(default 10)")
    steps.add_argument("--batch", type=positive, default=64, metavar="N",
                       help="images in a step (default 64)")  # fmt: skip
    steps.add_argument("--optimizer", choices=tuple(OPTIMIZERS), default="adam",
                       help="(default adam)")  # fmt: skip
    steps.add_argument("--lr", type=float, metavar="RATE",
                       help="learning rate (default: the optimizer's)")  # fmt: skip
    steps.add_argument("--schedule", choices=tuple(SCHEDULES), default="cosine",
                       help="how the rate changes (default cosine)")  # fmt: skip
    steps.add_argument("--loss", choices=tuple(LOSSES), default="softmax",
                       help="(default softmax, the cross-entropy)")  # fmt: skip
    steps.add_argument("--l2", type=float, default=0.0, metavar="R",
                       help="add R/2 sum(W^2) over the weights to the loss")  # fmt: skip
    steps.add_argument("--seed", type=natural, default=0, metavar="N",
                       help="equal seeds give equal weights, bit for bit (default 0)")  # fmt: skip
    steps.add_argument("--threads", type=positive, metavar="N",
                       help="threads for the arithmetic (default: the libraries')")  # fmt: skip
    steps.add_argument("--out", type=Path, metavar="FILE",
                       help="save the weights here as safetensors; without it nothing is"
                       " saved")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Train; an epoch is a line on stderr, the accuracy at the end a line on stdout."""
    from netspec.net import Net
    from netspec.runtime import threads
    from netspec.runtime.data.catalog import load
    from netspec.runtime.trainer import fit
    from netspec.runtime.weights import save_weights

    net = Net(checked_graph(options))
    if options.out is not None:
        _check_writable(options.out)
    if options.threads is not None:
        threads.limit(options.threads)
    model = net.compile("numpy", dtype="float32", seed=options.seed)
    data = load(options.data, options.data_dir, model.input_shape)
    print(
        f"{net.name} on {data.name}: {len(data.x_train):,} training images,"
        f" {len(data.x_test):,} test images",
        file=sys.stderr,
    )
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
        seed=options.seed,
        val=options.val,
        normalize=options.normalize,
        train_limit=options.train_limit,
        progress=True,
    )
    if options.out is not None:
        save_weights(options.out, model.state_dict(), history.normalization)
        print(f"weights saved to {options.out}", file=sys.stderr)
    emit(_result(history))
    return OK


def _result(history: History) -> str:
    if history.test_acc_history:
        return f"test accuracy {100 * history.test_acc_history[-1]:.2f} %"
    return f"train accuracy {100 * history.train_acc_history[-1]:.2f} % (there are no test images)"


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
