"""What the verbs for trained nets share: loading the weights, the backend and the normalization."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from netspec import codes
from netspec.cli.common import (
    add_net_file,
    add_net_options,
    arguments_of,
    checked_net,
    thread_count,
)
from netspec.cli.named_run import NamedRun, named_run, run_around, setting_text
from netspec.cli.picture_options import add_resize_options, given_resize
from netspec.cli.recipe_arguments import recipe_arguments
from netspec.cli.weights import add_rename_option, tell_notes
from netspec.diagnostics import Hint, NetspecError

if TYPE_CHECKING:
    from netspec.compiler.ir.input_scale import InputScale
    from netspec.net import Net
    from netspec.runtime.data.input_normalization import InputNormalization
    from netspec.runtime.data.pictures import Resize
    from netspec.runtime.models.numpy_model import Model
    from netspec.runtime.models.pytorch.model import TorchModel
    from netspec.runtime.weights.safetensors_file import Weights


class Trained(NamedTuple):
    """A net with its weights.

    Attributes:
        net, model: The compiled net, and its model for the requested backend.
        weights: The contents of the weights file.
        names: The names of the classes, one for each score.
        path: The path of the weights file.
        run: The run that the weights come from, if known.
    """

    net: Net
    model: Model | TorchModel
    weights: Weights
    names: tuple[str, ...]
    path: Path
    run: NamedRun | None

    def say_normalization(self, given: InputNormalization) -> None:
        """Note on stderr if images are normalized differently than in the run."""
        if self.run is not None:
            self.run.say_normalization(self.weights.normalization, given)

    def resize(self, options: argparse.Namespace) -> Resize:
        """Return how pictures of another size are resized: as the options say, else as in the run."""
        from netspec.runtime.runs.resolve import resolve

        given = given_resize(options)
        settings = resolve(given) if self.run is None else self.run.settings_with(given)
        return settings.resize


class Stored(NamedTuple):
    """A weights file that no model was made of.

    Attributes:
        weights: its contents.
        path: its path.
        run: The run that the weights come from, if known.
    """

    weights: Weights
    path: Path
    run: NamedRun | None


def add_weight_options(parser: argparse.ArgumentParser, *, pictures: bool = True) -> None:
    """Add FILE, the net's options, `--weights`, `--backend`, `--format`, and how pictures are resized."""
    add_net_file(parser)
    parser.add_argument("--weights", type=Path, metavar="W",
                        help="trained weights: a file of them, such as safetensors or PyTorch's .pth,"
                        " or the folder of a run (default: those of the run)")  # fmt: skip
    add_rename_option(parser)
    parser.add_argument("--backend", choices=("numpy", "c", "torch"), default="numpy",
                        help="what computes: numpy (default); c, machine code that the C compiler of"
                        " this machine makes; or torch")  # fmt: skip
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                        help="for torch (default auto: a GPU if there is one)")  # fmt: skip
    parser.add_argument("--threads", type=thread_count, metavar="N",
                        help="threads for the arithmetic (default: the libraries')")  # fmt: skip
    if pictures:
        add_resize_options(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text",
                        help="(default text)")  # fmt: skip
    add_net_options(parser)


def load_trained(options: argparse.Namespace) -> Trained:
    """Compile the net that the options name, and load its weights, which must match exactly.

    The model computes in the precision that its run was trained in; if that is not known, in the
    precision of the weights.

    Raises:
        NetspecError: for the net, `weights/bad-file`, `weights/mismatch`, `torch/missing`,
            `usage/weights`.
    """
    from netspec.runtime.weights.data_facts import class_names
    from netspec.runtime.weights.rename_rules import load_renamed
    from netspec.runtime.weights.safetensors_file import Weights

    run = named_run(options.file)
    net = checked_net(options)
    if run is None and options.weights is None and not net.graph.saved():
        path, weights = Path(options.file), Weights({})  # there is nothing that a file could hold
    else:
        path = _weights_path(run, options.weights)
        weights = load_renamed(path, options.rename)
    if run is not None:
        weights = run.complete(weights)
    if options.threads is not None:
        _limit_threads(options.backend, options.threads)
    run = run or run_around(path)
    dtype = weights.dtype if run is None else run.settings["dtype"]
    model: Model | TorchModel
    if options.backend == "torch":
        model = net.compile("torch", dtype=dtype, device=options.device)
    else:
        model = net.compile(options.backend, dtype=dtype)
    with explained_mismatch(options, run):
        model.load_state_dict(weights.tensors)
    say_matches(weights, path, model)
    return Trained(net, model, weights, class_names(weights.metadata, model.classes), path, run)


def named_weights(options: argparse.Namespace) -> Trained | None:
    """Return the net with the weights that the options name; None if they name none."""
    if options.weights is None and named_run(options.file) is None:
        return None
    return load_trained(options)


def stored_weights(options: argparse.Namespace) -> Stored | None:
    """Return the weights file that the options name, or that of the run; None if there is none.

    Raises:
        NetspecError: `weights/bad-file`, `usage/weights` for a run that has not finished.
    """
    run = named_run(options.file)
    if options.weights is None and run is None:
        return None
    from netspec.runtime.weights.rename_rules import load_renamed

    path = _weights_path(run, options.weights)
    weights = load_renamed(path, options.rename)
    return Stored(weights if run is None else run.complete(weights), path, run or run_around(path))


def say_matches(weights: Weights, path: Path, model: Model | TorchModel) -> None:
    """Note on stderr what was done to a weights file that a model took."""
    from netspec.runtime.weights.tensor_names import match_names

    matched = match_names(weights.tensors, model.graph.saved())
    tell_notes(path, (*weights.notes, *matched.notes))


def _weights_path(run: NamedRun | None, given: Path | None) -> Path:
    """Return the path of the given weights, else of the run's.

    Raises:
        NetspecError: `usage/weights`.
    """
    if given is not None:
        if run is not None:
            run.say_weights(given)
        return given
    if run is None:
        raise NetspecError.simple(
            codes.USAGE_WEIGHTS,
            "the weights are missing",
            "give --weights FILE, or a run for the net",
        )
    return run.weights


@contextmanager
def explained_mismatch(options: argparse.Namespace, run: NamedRun | None) -> Iterator[None]:
    """Say which arguments a net with these weights has, where they do not fit.

    Args:
        options: with `file` and `set`.
        run: the run of the weights, if it is known.
    """
    try:
        yield
    except NetspecError as error:
        if error.diagnostics[0].code != codes.WEIGHTS_MISMATCH:
            raise
        found = recipe_arguments(options) if run is None else None
        if found is not None:
            path, settings = found
            hint = Hint(f"{path} trains the net with {settings}")
            first, *others = error.diagnostics
            raise NetspecError([replace(first, hints=(hint,)), *others]) from None
        raise _with_arguments_of(run, arguments_of(options), error) from None


def _with_arguments_of(
    run: NamedRun | None, given: Mapping[str, Any], error: NetspecError
) -> NetspecError:
    """Return the error for weights that do not fit.

    If a forgotten `--set` explains it, only that is said.
    """
    if run is None:
        return error
    own = run.facts.constants
    others = {n: value for n, value in own.items() if n not in given or given[n] != value}
    if not others:
        return error
    settings = " ".join(f"--set {name}={setting_text(value)}" for name, value in others.items())
    return NetspecError.simple(
        codes.WEIGHTS_MISMATCH,
        f"the weights do not fit the network: they belong to a net with {settings}",
        f"the run knows its net: {run.folder.path} in place of the file",
    )


def stored_normalization(weights: Weights, path: Path, help: str) -> InputNormalization:
    """Return the normalization that is stored with the weights.

    Raises:
        NetspecError: `weights/no-normalization`, with this help, if the file has none.
    """
    if weights.normalization is None:
        raise NetspecError.simple(
            codes.WEIGHTS_NO_NORMALIZATION, f"{path} does not say how images were normalised", help
        )
    return weights.normalization


def stored_scale(
    weights: Weights, path: Path, shapes: Mapping[str, Sequence[Any]], help: str
) -> InputScale:
    """Return how the only input of a net was normalised in training.

    Args:
        weights: those of the training, which say it.
        path: their file.
        shapes: that of the input, by its name.
        help: see `stored_normalization`.

    Raises:
        NetspecError: as `stored_normalization`.
    """
    from netspec.runtime.data.input_scales import input_scales

    (scale,) = input_scales(stored_normalization(weights, path, help), shapes).values()
    return scale


def _limit_threads(backend: str, count: int) -> None:
    if backend == "torch":
        from netspec.runtime.models.torch_build import require_torch

        require_torch().set_num_threads(count)
    else:
        from netspec.runtime.engine import threads

        threads.limit(count)
