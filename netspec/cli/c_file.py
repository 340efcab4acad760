"""The C file of `netspec compile FILE --target c`: its options, and what is written beside it."""

from __future__ import annotations

import argparse
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from netspec import codes
from netspec.cli.about_numbers import INITIAL, about_numbers
from netspec.cli.c_inputs import CInput, normalized_inputs, stored_input
from netspec.cli.common import checked_net, emit_text, natural, positive, tell
from netspec.cli.header_beside import say_older_header
from netspec.cli.output_place import check_beside, check_output, net_sources
from netspec.cli.trained_net import named_weights
from netspec.compiler.c_backend.train_losses import LOSSES, LossName
from netspec.diagnostics import NetspecError

if TYPE_CHECKING:
    from netspec.compiler.c_backend.emit import CSource
    from netspec.compiler.ir.graph import Graph
    from netspec.compiler.ir.input_scale import InputScale
    from netspec.runtime.models.numpy_model import Model


def add_c_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that only the C file has."""
    group = parser.add_argument_group("the C file")
    group.add_argument("--header", action="store_true",
                       help="c: declare the functions in a .h beside the file")  # fmt: skip
    group.add_argument("--fast", action="store_true",
                       help="c: faster and larger: a function for each layer's sizes, with the vectors"
                       " of GCC and Clang")  # fmt: skip
    group.add_argument("--arena", choices=("static", "extern"), default="static",
                       help="c: who provides the memory for values: the file, or the caller, who may"
                       " then call it in several threads (default static)")  # fmt: skip
    group.add_argument("--dtype", choices=("float32", "float64"), default="float32",
                       help="c: the precision (default float32)")  # fmt: skip
    group.add_argument("--classify", action="store_true",
                       help="c: a function that gives the probabilities of the classes, the likeliest"
                       " class, and the classes' names")  # fmt: skip
    group.add_argument("--name", dest="c_name", type=_name, metavar="NAME",
                       help="c: what the names of its functions begin with, for two files of one net in"
                       " a program (default: the name of the net)")  # fmt: skip
    group.add_argument("--weights-in-file", action="store_true",
                       help="c: weights are constants of the file, however many they are (default: more"
                       " than 1 MB are a file beside it)")  # fmt: skip
    group.add_argument("--max", dest="most", action="append", default=[], type=_size, metavar="NAME=N",
                       help="c: an open size that the functions take as an argument, and the largest"
                       " number of it; may be repeated")  # fmt: skip
    group.add_argument("--train", action="store_true",
                       help="c: a file that trains: the loss and its gradients, steps of optimizers,"
                       " and the parameters as an array")  # fmt: skip
    group.add_argument("--batch", type=positive, metavar="N",
                       help="c --train: the most images in a batch (default 32)")  # fmt: skip
    group.add_argument("--loss", dest="train_loss", choices=tuple(LOSSES),
                       help="c --train: the loss of a net with one output (default softmax)")  # fmt: skip
    group.add_argument("--example", action="store_true",
                       help="c --train: also write OUT_main.c, which trains on pictures in MNIST's"
                       " files")  # fmt: skip
    group.add_argument("--int8", action="store_true",
                       help="c: a net in whole numbers of 8 bits, and what that costs")  # fmt: skip
    group.add_argument("--calibrate", metavar="DATA",
                       help="c --int8: data whose training images give the scales (default: those of"
                       " the run)")  # fmt: skip
    group.add_argument("--test-limit", type=natural, metavar="N",
                       help="c --int8: the most test images that the net is measured on, 0 for none"
                       " (default 1000)")  # fmt: skip
    group.add_argument("--data-dir", type=Path, metavar="DIR",
                       help="c --int8: the folder to search for the data first")  # fmt: skip
    parser.set_defaults(threads=None, backend="numpy", device="cpu")


def chosen_options(options: argparse.Namespace) -> list[str]:
    """Return the options for C alone that are given."""
    given = {
        "--header": options.header,
        "--fast": options.fast,
        "--arena": options.arena != "static",
        "--dtype": options.dtype != "float32",
        "--classify": options.classify,
        "--name": options.c_name is not None,
        "--weights-in-file": options.weights_in_file,
        "--max": bool(options.most),
        "--train": options.train,
        "--batch": options.batch is not None,
        "--loss": options.train_loss is not None,
        "--example": options.example,
        "--int8": options.int8,
        "--calibrate": options.calibrate is not None,
        "--test-limit": options.test_limit is not None,
        "--data-dir": options.data_dir is not None,
    }
    return [option for option, on in given.items() if on]


def _size(text: str) -> tuple[str, int]:
    """Return the name and the number of `H=64`.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    name, _, number = text.partition("=")
    if not name.isidentifier():
        raise argparse.ArgumentTypeError(
            f"a size and its largest number, such as H=64, not {text!r}"
        )
    return name, positive(number)


def _name(text: str) -> str:
    """Return an identifier of C.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"a name of letters, digits and _, not {text!r}")
    return text


# What a file can be called that another one includes.
_INCLUDABLE = re.compile(r"[A-Za-z0-9_.+ -]+")


class CFile:
    """What `compile --target c` writes."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._out: Path | None = options.output
        self._trained = named_weights(options)
        self.net = checked_net(options) if self._trained is None else self._trained.net
        _require_together(options)
        self._check_known_places()
        self.source = self._compile()

    def _compile(self) -> CSource:
        from netspec.compiler.c_backend.emit import COptions, c_source

        options = self._options
        if options.header and self._out is None:
            raise NetspecError.simple(
                codes.USAGE_TARGET, "--header needs -o OUT, the file that it lies beside"
            )
        header = self._header_place().name if options.header else None
        if header is not None and not _INCLUDABLE.fullmatch(header):
            raise NetspecError.simple(
                codes.USAGE_TARGET,
                f"C cannot include a file called {header!r}",
                "name another file",
            )
        if options.train:
            return self._training(header)
        if options.int8:
            return self._int8(header)
        self._require_name_for_weights()
        if self._trained is None and self.net.graph.parameters:
            tell(f"note: no --weights: the file has {INITIAL}")
        chosen = COptions(
            header, options.fast, options.arena == "extern", options.dtype,
            self._classes() if options.classify else None,
            self._input().by,
            dict(options.most), options.c_name, self._about(), options.weights_in_file, self._digest(),
            self._normalized(),
        )  # fmt: skip
        return c_source(self.net.graph, self._model.parameters, chosen)

    def _digest(self) -> str:
        """Return what the weights are known by, and say it; that of the file that they are from."""
        from netspec.runtime.weights.digest import initial_digest, weights_digest

        if not self.net.graph.saved():
            return ""
        if self._trained is None:
            found = initial_digest(self._model.state_dict())
        else:
            found = weights_digest(self._trained.weights.tensors)
        tell(f"digest of the weights: {found}")
        return found

    def _normalized(self) -> dict[str, InputScale]:
        """Return how inputs were normalised in training, as far as it is known."""
        if self._trained is None:
            return {}
        return normalized_inputs(self._trained.weights, self.net.graph.inputs)

    def _about(self) -> tuple[str, ...]:
        """Return what the file says of its numbers."""
        options = self._options
        inputs = tuple(self.net.graph.inputs)
        if options.train or len(inputs) > 1:
            return about_numbers(self._trained, inputs, advice="")
        lines = about_numbers(self._trained, inputs, normalizes=options.normalize_input)
        done = any(by.shifts or by.divides for by in self._normalized().values())
        if options.int8 and options.normalize_input and done:
            lines += (
                "That is for predict; predict_int8 takes what is normalised, in whole numbers.",
            )
        return lines

    def _require_name_for_weights(self) -> None:
        """Refuse large weights without a place for their file before they are drawn.

        Folding makes them somewhat smaller, so only what is certainly large is refused here.
        """
        from netspec.compiler.c_backend.emit import LARGE

        numbers = sum(parameter.size for parameter in self.net.graph.trainable())
        if self._out is None and numbers > LARGE and not self._options.weights_in_file:
            raise _no_place(4 * numbers)

    def _int8(self, header: str | None) -> CSource:
        from netspec.cli.int8_target import MEASURED, Calibration, quantized_net
        from netspec.compiler.c_backend.int8.int8_file import Int8Options, int8_source

        if self._trained is None:
            raise NetspecError.simple(
                codes.USAGE_WEIGHTS,
                "--int8 needs weights",
                "give a run in place of the file, or --weights W --calibrate DATA",
            )
        options = self._options
        chosen = Int8Options(
            header, options.arena == "extern",
            self._classes() if options.classify else None,
            *self._input(), options.c_name, self._about(), self._digest(), self._normalized(),
        )  # fmt: skip
        measured = MEASURED if options.test_limit is None else options.test_limit
        by = Calibration(options.calibrate, options.data_dir, measured)
        return int8_source(quantized_net(self._trained, by), chosen)

    def _training(self, header: str | None) -> CSource:
        from netspec.compiler.c_backend.train_file import TrainOptions, train_source
        from netspec.compiler.passes.layer_limit import require_few_trained_in_c

        require_few_trained_in_c(self.net.graph)  # before a value is drawn for each
        options = self._options
        loss: LossName = options.train_loss if options.train_loss is not None else "softmax"
        if options.example:
            self._one_output_of_scores("--example")
        elif options.train_loss is not None and len(self.net.graph.outputs) != 1:
            message = f"{self.net.name} has several outputs: --loss needs one"
            raise NetspecError.simple(codes.USAGE_TARGET, message)
        chosen = TrainOptions(
            options.batch or 32, header, options.dtype == "float64", loss, example=options.example,
            name=options.c_name, about=self._about(),
        )  # fmt: skip
        return train_source(self.net.graph, self._model.parameters, chosen)

    def _example(self) -> str:
        from netspec.compiler.c_backend.train_example import example_main

        assert self._out is not None
        in_file = self.source.weights is not None
        return example_main(self.net.graph, self.source.name, self._out.stem, in_file=in_file)

    def _one_output_of_scores(self, option: str) -> int:
        """Return how many classes a net with one input and one output has."""
        from netspec.runtime.models.classifier_shape import class_count, image_shape

        graph = self._largest()
        image_shape(graph)
        if len(self.net.graph.outputs) > 1:
            message = f"{self.net.name} has several outputs: {option} needs one"
            raise NetspecError.simple(codes.USAGE_TARGET, message)
        return class_count(graph)

    def _largest(self) -> Graph:
        """Return the net for the largest sizes, if it leaves some open."""
        from netspec.compiler.c_backend.open_sizes import require_known
        from netspec.compiler.passes.bind_sizes import specialize

        most = dict(self._options.most)
        require_known(self.net.graph, most)
        return specialize(self.net.graph, most)

    @cached_property
    def _model(self) -> Model:
        """Return a model with the weights, or with initial values if there are none."""
        from netspec.compiler.passes.layer_limit import require_few_layers
        from netspec.runtime.models.numpy_model import Model

        if self._trained is None:
            require_few_layers(self.net.graph)
            return Model(self.net.graph, dtype="float64")
        assert isinstance(self._trained.model, Model)
        return self._trained.model

    def _classes(self) -> tuple[str, ...]:
        """Return the names of the classes; the numbers of those without."""
        from netspec.runtime.weights.data_facts import class_names

        count = self._one_output_of_scores("--classify")
        stored = {} if self._trained is None else self._trained.weights.metadata
        return class_names(stored, count)

    def _input(self) -> CInput:
        """Return what the file does to its input, as the weights file says that training did."""
        from netspec.runtime.models.classifier_shape import image_shape

        normalizes = self._options.normalize_input
        if self._trained is None and normalizes:
            raise NetspecError.simple(
                codes.USAGE_WEIGHTS, "--normalize needs weights", "give --weights FILE, or a run"
            )
        if self._trained is None or not (normalizes or self._options.int8):
            return CInput(None, None)
        largest = self._largest()
        image_shape(largest)  # refuses several inputs
        return stored_input(
            self._trained.weights, self._trained.path, largest.inputs, normalizes=normalizes
        )

    def others(self) -> dict[Path, bytes]:
        """Return what is written beside the file: the header, and large weights."""
        assert self._out is not None
        files: dict[Path, bytes] = {}
        if self.source.header is not None:
            files[self._header_place()] = self.source.header.encode()
        if self.source.weights is not None:
            files[self._out.with_suffix(".weights")] = self.source.weights
        if self._options.example:
            files[self._example_place()] = self._example().encode()
        return files

    def _header_place(self) -> Path:
        assert self._out is not None
        return self._out.with_suffix(".h")

    def _example_place(self) -> Path:
        assert self._out is not None
        return self._out.with_name(f"{self._out.stem}_main.c")

    def files(self) -> dict[Path, bytes]:
        """Return all files that are written, the C file last."""
        assert self._out is not None
        return {**self.others(), self._out: self.source.text.encode()}

    def _check_known_places(self) -> None:
        """Refuse places that are known before anything is computed, which may take long."""
        if self._out is None or self._options.check:
            return
        others = [self._header_place()] if self._options.header else []
        others += [self._example_place()] if self._options.example else []
        sources, force = net_sources(self.net), self._options.force
        check_output(self._out, sources, force=force)
        check_beside(others, self._out, sources, force=force)

    def check_places(self) -> None:
        """Refuse to write over what netspec did not make."""
        assert self._out is not None
        sources, force = net_sources(self.net), self._options.force
        check_output(self._out, sources, force=force)
        check_beside(self.others(), self._out, sources, force=force)

    def write(self) -> None:
        """Write all files, the C file last, or print it."""
        from netspec.runtime.weights.atomic_write import told_plainly
        from netspec.runtime.weights.output_file import write_output

        if self._out is None:
            if self.source.weights is not None:
                raise _no_place(self.source.constant_bytes)
            emit_text(self.source.text)
            return
        for path, content in self.files().items():
            with told_plainly(path):
                write_output(path, content)
        for path in self.others():
            tell(f"{path} belongs to it")
        if self.source.header is None:
            say_older_header(self._out, self.source.text)


def _no_place(size: int) -> NetspecError:
    return NetspecError.simple(
        codes.USAGE_TARGET,
        f"{size:,} bytes of weights are a file of their own, beside the C file",
        "name the C file: -o OUT",
    )


def _require_together(options: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
        NetspecError: `usage/target`.
    """
    apart = {
        "--fast": options.fast,
        "--arena extern": options.arena == "extern",
        "--classify": options.classify,
        "--weights-in-file": options.weights_in_file,
        "--max": bool(options.most),
    }
    of_int8 = {
        "--calibrate": options.calibrate is not None,
        "--test-limit": options.test_limit is not None,
        "--data-dir": options.data_dir is not None,
    }
    without = [option for option, on in of_int8.items() if on and not options.int8]
    if without:
        message = f"{', '.join(without)}: for a file in whole numbers, with --int8"
        raise NetspecError.simple(codes.USAGE_TARGET, message)
    alone = {
        "--fast": options.fast,
        "--max": bool(options.most),
        "--train": options.train,
        "--dtype": options.dtype != "float32",
    }
    both = [option for option, on in alone.items() if on and options.int8]
    if both:
        message = f"{', '.join(both)}: for a file in floating point, without --int8"
        raise NetspecError.simple(codes.USAGE_TARGET, message)
    wrong = [option for option, on in apart.items() if on and options.train]
    if wrong:
        message = f"{', '.join(wrong)}: for a file that predicts, without --train"
        raise NetspecError.simple(codes.USAGE_TARGET, message)
    training = options.batch is not None or options.train_loss is not None or options.example
    if training and not options.train:
        raise NetspecError.simple(codes.USAGE_TARGET, "--batch, --loss and --example need --train")
    if options.example and options.train_loss not in (None, "softmax"):
        message = "--example trains with --loss softmax"
        raise NetspecError.simple(codes.USAGE_TARGET, message)
    if options.example and not options.header:
        raise NetspecError.simple(codes.USAGE_TARGET, "--example needs --header, which it includes")
