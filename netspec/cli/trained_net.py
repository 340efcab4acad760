"""What the verbs share that need a trained net: its weights, its backend, its normalisation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from netspec import codes
from netspec.cli.common import add_net_file, add_net_options, checked_net, positive
from netspec.diagnostics import NetspecError

if TYPE_CHECKING:
    from netspec.net import Net
    from netspec.runtime.data.input_normalization import Normalization
    from netspec.runtime.models.numpy_model import Model
    from netspec.runtime.models.pytorch.model import TorchModel
    from netspec.runtime.weights.safetensors_file import Weights


class Trained(NamedTuple):
    """A net with weights.

    Attributes:
        net, model: what was compiled, and for the backend that was asked for.
        weights: the file's.
        names: of the classes, one for each score.
    """

    net: Net
    model: Model | TorchModel
    weights: Weights
    names: tuple[str, ...]


def add_weight_options(parser: argparse.ArgumentParser) -> None:
    """FILE, the net's options, `--weights`, `--backend`, `--device`, `--threads` and `--format`."""
    add_net_file(parser)
    parser.add_argument("--weights", type=Path, required=True, metavar="W",
                        help="trained weights: a safetensors file or PyTorch's .pth")  # fmt: skip
    parser.add_argument("--backend", choices=("numpy", "torch"), default="numpy",
                        help="what computes (default numpy)")  # fmt: skip
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                        help="for torch (default auto: a GPU where there is one)")  # fmt: skip
    parser.add_argument("--threads", type=positive, metavar="N",
                        help="threads for the arithmetic (default: the libraries')")  # fmt: skip
    parser.add_argument("--resize", action="store_true",
                        help="stretch pictures of other sizes to the net's input")  # fmt: skip
    parser.add_argument("--format", choices=("text", "json"), default="text",
                        help="(default text)")  # fmt: skip
    add_net_options(parser)


def load_trained(options: argparse.Namespace) -> Trained:
    """The net that the options name, compiled, with exactly its weights.

    Raises:
        NetspecError: for the net, `weights/bad-file`, `weights/mismatch`, `torch/missing`.
    """
    from netspec.runtime.training.transfer import read_weights
    from netspec.runtime.weights.data_facts import class_names

    net = checked_net(options)
    weights = read_weights(options.weights)
    if options.threads is not None:
        _limit_threads(options.backend, options.threads)
    model: Model | TorchModel
    if options.backend == "torch":
        model = net.compile("torch", device=options.device)
    else:
        model = net.compile("numpy")
    model.load_state_dict(weights.tensors)
    return Trained(net, model, weights, class_names(weights.metadata, model.classes))


def stored_normalization(weights: Weights, path: Path, help: str) -> Normalization:
    """The normalisation of the weights.

    Raises:
        NetspecError: `weights/no-normalization`, with this help, where the file has none.
    """
    if weights.normalization is None:
        raise NetspecError.simple(
            codes.WEIGHTS_NO_NORMALIZATION, f"{path} does not say how images were normalised", help
        )
    return weights.normalization


def _limit_threads(backend: str, count: int) -> None:
    if backend == "torch":
        from netspec.runtime.models.torch_build import require_torch

        require_torch().set_num_threads(count)
    else:
        from netspec.runtime.engine import threads

        threads.limit(count)
