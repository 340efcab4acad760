"""The C file of `netspec compile FILE --target c`: its options, and what is written beside it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from netspec import codes
from netspec.cli.common import checked_net, emit_text, tell
from netspec.cli.named_run import named_run
from netspec.cli.output_place import check_output, net_sources
from netspec.cli.trained_net import load_trained
from netspec.cli.weights import add_rename_option
from netspec.diagnostics import NetspecError

if TYPE_CHECKING:
    from netspec.compiler.c_backend.emit import CSource
    from netspec.net import Net
    from netspec.runtime.models.numpy_model import Model


def add_c_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that only the C file has."""
    group = parser.add_argument_group("the C file")
    group.add_argument("--weights", type=Path, metavar="W",
                       help="c: trained weights, a file or the folder of a run (default: those of the"
                       " run, else initial values)")  # fmt: skip
    add_rename_option(parser)
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
    parser.set_defaults(threads=None, backend="numpy", device="cpu")


def chosen_options(options: argparse.Namespace) -> list[str]:
    """Return the options for C alone that are given."""
    given = {
        "--weights": options.weights is not None,
        "--rename": bool(options.rename),
        "--header": options.header,
        "--fast": options.fast,
        "--arena": options.arena != "static",
        "--dtype": options.dtype != "float32",
    }
    return [option for option, on in given.items() if on]


class CFile:
    """What `compile --target c` writes."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._out: Path | None = options.output
        self.net, self._model = _net_and_model(options)
        self.source = self._compile()

    def _compile(self) -> CSource:
        from netspec.compiler.c_backend.emit import COptions, c_source

        options = self._options
        if options.header and self._out is None:
            raise NetspecError.simple(
                codes.USAGE_TARGET, "--header needs -o OUT, the file that it lies beside"
            )
        header = self._out.with_suffix(".h").name if options.header and self._out else None
        chosen = COptions(header, options.fast, options.arena == "extern", options.dtype)
        return c_source(self.net.graph, self._model.parameters, chosen)

    def others(self) -> dict[Path, bytes]:
        """Return what is written beside the file: the header, and large weights."""
        assert self._out is not None
        files: dict[Path, bytes] = {}
        if self.source.header is not None:
            files[self._out.with_suffix(".h")] = self.source.header.encode()
        if self.source.weights is not None:
            files[self._out.with_suffix(".weights")] = self.source.weights
        return files

    def check_places(self) -> None:
        """Refuse to write over what netspec did not make."""
        assert self._out is not None
        sources, force = net_sources(self.net), self._options.force
        check_output(self._out, sources, force=force)
        ours = self._out.is_file()  # what lies beside a file of ours, with its name, is ours too
        for path in self.others():
            check_output(path, sources, force=force or ours)

    def write(self) -> None:
        """Write all files, the C file last, or print it."""
        from netspec.runtime.weights.atomic_write import told_plainly
        from netspec.runtime.weights.output_file import write_output

        if self._out is None:
            if self.source.weights is not None:
                size = f"{self.source.constant_bytes:,} bytes of weights"
                message = f"{size} are a file of their own, beside the C file"
                raise NetspecError.simple(codes.USAGE_TARGET, message, "name the C file: -o OUT")
            emit_text(self.source.text)
            return
        files = {**self.others(), self._out: self.source.text.encode()}
        for path, content in files.items():
            with told_plainly(path):
                write_output(path, content)
        for path in self.others():
            tell(f"{path} belongs to it")


def _net_and_model(options: argparse.Namespace) -> tuple[Net, Model]:
    """Return the net, and a model with the weights, or with initial values if there are none."""
    from netspec.runtime.models.numpy_model import Model

    if options.weights is not None or named_run(options.file) is not None:
        trained = load_trained(options)
        assert isinstance(trained.model, Model)
        return trained.net, trained.model
    net = checked_net(options)
    return net, Model(net.graph, dtype="float64")
