"""`netspec import torch` and `netspec import onnx`: models of other tools as `.net` files."""

from __future__ import annotations

import argparse
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.cli import OK
from netspec.cli.common import (
    add_color_option,
    arguments_of,
    emit,
    report,
    tell,
    write_bytes,
    write_whole,
)
from netspec.cli.output_place import add_force_option, check_output
from netspec.cli.weights import tell_notes
from netspec.diagnostics import NetspecError
from netspec.files.model_files import is_model
from netspec.files.regular_file import holds

if TYPE_CHECKING:
    from torch import Tensor

    from netspec.imports.imported_text import ImportedText

_TORCH = """\
Writes a PyTorch model as a .net file, with the modules' classes as blocks and the names of the state
dict, and proves that it computes the same before it is written. This RUNS the Python code that is
named. A .pt2 file is code too: PyTorch unpickles it without restriction.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add a parser for each tool that models come from."""
    tools = parser.add_subparsers(dest="tool", required=True, metavar="TOOL")
    found = tools.add_parser(
        "torch", help="a PyTorch model; this runs the Python code that is named",
        description=_TORCH, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    found.add_argument("source", metavar="SOURCE",
                       help="MODULE:FACTORY, FILE.py:CLASS, or a .pt2 file of torch.export")  # fmt: skip
    found.add_argument("--input", action="append", default=[], type=_input, metavar="NAME=SIZES",
                       help="an input and its sizes for one image, such as image=3,224,224, or"
                       " tokens=int:16; 3,224,224 alone for the only one; may be repeated, in the"
                       " order of `forward`")  # fmt: skip
    found.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                       help="call the class or function with an argument; may be repeated")  # fmt: skip
    found.add_argument("--weights", type=Path, metavar="W",
                       help="load the model's weights before: a state dict, a checkpoint with one in"
                       " it, or safetensors; no code in it runs")  # fmt: skip
    found.add_argument("--name", default="", metavar="NAME",
                       help="the net's name (default: that of the class)")  # fmt: skip
    found.add_argument("--prove", choices=("outputs", "full"), default="outputs",
                       help="what is compared before anything is written: the outputs, or the"
                       " gradients in training too (default: outputs)")  # fmt: skip
    _add_outputs(found)
    found = tools.add_parser(
        "onnx", help="an ONNX file, of any origin", allow_abbrev=False,
        description="Writes an ONNX model as a .net file, once it is proved in onnxruntime that both"
        " compute the same.",
    )  # fmt: skip
    found.add_argument("source", metavar="FILE", help="the .onnx file")
    found.add_argument("--input", action="append", default=[], type=_file_input, metavar="NAME=SIZES",
                       help="the sizes of an input for one image, where the file leaves them open,"
                       " by the file's name and in its order of axes: image=3,224,224, or 224,224,3"
                       " where channels are last; sizes alone for the only input; may be"
                       " repeated")  # fmt: skip
    found.add_argument("--outputs", action="append", default=[], metavar="NAMES",
                       help="the outputs of the file that the net has, NAME or NAME,NAME, without what"
                       " only others need (default: all)")  # fmt: skip
    _add_outputs(found)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="the .net file; without it"
                        " the text goes to stdout")  # fmt: skip
    parser.add_argument("--weights-out", type=Path, metavar="OUT",
                        help="a safetensors file for the model's weights")  # fmt: skip
    add_force_option(parser)
    add_color_option(parser)


def run(options: argparse.Namespace) -> int:
    """Import a model, and write the files once it is proved."""
    _check_outputs(options)
    readers: Mapping[str, Callable[[argparse.Namespace], ImportedText]] = {
        "torch": _from_torch,
        "onnx": _from_onnx,
    }
    found = readers[options.tool](options)
    weights = b"" if options.weights_out is None else found.weights_file()
    if not options.force:
        _require_same(options.output, found.text.encode())
        _require_same(options.weights_out, weights)
    for note in found.notes:
        tell(f"note: {note}")
    report(found.net.warnings, options)
    _write(options, found, weights)
    tell(f"proved on two batches: outputs at most {found.difference:.1e} of the largest apart")
    if found.trained is not None:
        gradients = found.trained.gradients
        slopes = "" if gradients is None else f", gradients {gradients:.1e}"
        tell(f"in training with random parameters: outputs {found.trained.outputs:.1e}{slopes}")
    return OK


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse files that could not be written, or that this command reads.

    Raises:
        NetspecError: `output/unwritable`, `output/is-source`.
    """
    outputs = [path for path in (options.output, options.weights_out) if path is not None]
    if len({os.path.realpath(path) for path in outputs}) < len(outputs):
        message = f"cannot write {outputs[0]}: the net and the weights are two files"
        raise NetspecError.simple(codes.OUTPUT_UNWRITABLE, message, "name another one")
    _require_safetensors(options.weights_out)
    source = Path(options.source.rpartition(":")[0] or options.source)
    read = [source, *([options.weights] if options.tool == "torch" and options.weights else [])]
    for path in outputs:
        # What is there may be what this import writes: that is seen afterwards.
        check_output(path, [each for each in read if each.is_file()], force=True)


def _write(options: argparse.Namespace, found: ImportedText, weights: bytes) -> None:
    """Write the net, or print it, and its weights."""
    if options.output is None:
        emit(found.text.rstrip("\n"))
    else:
        write_whole(options.output, found.text)
        if options.output.suffix != ".net":
            tell(f"note: {options.output} is a net, and editors know these by their ending: .net")
    if options.weights_out is not None:
        write_bytes(options.weights_out, weights)
        _tell_normalization(found)


def _tell_normalization(found: ImportedText) -> None:
    """Say what the weights file does not: how inputs are normalised, if the net does not do it."""
    if found.normalization is None:
        others = [name for name in found.net.graph.real_inputs if name not in found.normalised]
        if others:
            which = ", ".join(f"`{name}`" for name in others) if found.normalised else "its inputs"
            was = "was" if found.normalised and len(others) == 1 else "were"
            tell(f"note: the model does not say how {which} {was} normalised: see --normalize of train,"
                 " eval and predict")  # fmt: skip
    elif found.normalised:
        tell("note: the weights file says that inputs are fed as they are, and train --weights keeps to"
             " it")  # fmt: skip


def _require_safetensors(path: Path | None) -> None:
    """Refuse a name that says another format than what is written.

    Raises:
        NetspecError: `output/unwritable`.
    """
    if path is not None and path.suffix != ".safetensors" and is_model(path.name):
        message = f"the weights are written as safetensors, and {path} is named as something else"
        help = f"name it {path.with_suffix('.safetensors').name}"
        raise NetspecError.simple(codes.OUTPUT_UNWRITABLE, message, help)


def _require_same(path: Path | None, content: bytes) -> None:
    """Refuse to replace a file by another one; the same net or weights may be written again.

    Weights that are there may have been trained further since, under the same names.

    Raises:
        NetspecError: `output/not-generated`, `output/unwritable`.
    """
    if path is None or not path.is_file():
        return
    try:
        is_same = holds(path, b"") or holds(path, content)
    except OSError as error:
        message = f"cannot write {path}: the file there cannot be read ({error.strerror})"
        raise NetspecError.simple(codes.OUTPUT_UNWRITABLE, message) from None
    if not is_same:
        raise NetspecError.simple(
            codes.OUTPUT_NOT_GENERATED, f"{path} already exists, and is not what this import writes",
            "name another file, or give --force to replace it",
        )  # fmt: skip


def _from_onnx(options: argparse.Namespace) -> ImportedText:
    from netspec.imports.onnx.convert import import_onnx

    sizes = {name: shape for name, _, shape in options.input}
    return import_onnx(Path(options.source), sizes, [
        name.strip() for names in options.outputs for name in names.split(",")
    ])  # fmt: skip


def _require_names(inputs: Sequence[tuple[str, str, tuple[int, ...]]]) -> None:
    """Check that all inputs have names.

    Raises:
        NetspecError: `import/module`.
    """
    for name, _, sizes in inputs:
        if not name:
            given = ",".join(map(str, sizes))
            message = (
                f"--input {given} has no name, and only a module with a single input needs none"
            )
            raise NetspecError.simple(codes.IMPORT_MODULE, message, f"write --input NAME={given}")


def _from_torch(options: argparse.Namespace) -> ImportedText:
    from netspec.imports.torch_front.model_source import (
        load_program,
        make_module,
        require_settable,
    )
    from netspec.imports.torch_import import import_torch

    program = fresh = None
    module: Any
    if options.source.endswith(".pt2"):
        if options.weights is not None:
            message = "--weights is for models of Python code, and a .pt2 file has its own"
            raise NetspecError.simple(codes.USAGE_WEIGHTS, message)
        program = load_program(Path(options.source))
        module = program.module()
    else:
        require_settable(options.set)
        module = make_module(options.source, arguments_of(options))
        if options.weights is not None:
            from netspec.imports.torch_front.model_weights import load_into

            fresh = {name: tensor.clone() for name, tensor in module.state_dict().items()}
            tell_notes(options.weights, load_into(module, options.weights))
    inputs = options.input
    if program is None:
        inputs = [(name or _only_input(module), *rest) for name, *rest in inputs]
    _require_names(inputs)
    example = {name: _example(kind, sizes) for name, kind, sizes in inputs}
    if program is not None and not example:
        given = program.example_inputs[0] if program.example_inputs else ()
        example = {"input" if not i else f"input{i + 1}": t for i, t in enumerate(given)}
    doc = (f"Imported from PyTorch: {options.source}",)
    return import_torch(
        module,
        example,
        name=options.name,
        program=program,
        doc=doc,
        prove=options.prove,
        fresh=fresh,
    )


def _only_input(module: Any) -> str:
    """Return the name of the only parameter of a model's `forward`; an empty text for several."""
    names = list(inspect.signature(module.forward).parameters)
    return names[0] if len(names) == 1 else ""


def _input(text: str) -> tuple[str, str, tuple[int, ...]]:
    """Return name, what it holds, and sizes of `image=3,224,224`; an empty name of `3,224,224`.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    name, kind, sizes = _file_input(text)
    if name and not name.isidentifier():
        raise argparse.ArgumentTypeError(f"a name as Python has it before the sizes, not {name!r}")
    return name, kind, sizes


def _file_input(text: str) -> tuple[str, str, tuple[int, ...]]:
    """Return the same of an input of a file, which can have any name, such as `serving/x:0`.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    name, _, rest = text.rpartition("=")
    kind, _, sizes = rest.rpartition(":")
    numbers = tuple(int(size) for size in sizes.split(",") if size.isdecimal())
    sound = (name or text == rest) and kind in ("", "int", "bool") and all(n > 0 for n in numbers)
    if not sound or len(numbers) != len(sizes.split(",")):
        message = f"a name with sizes, such as image=3,224,224 or tokens=int:16, not {text!r}"
        raise argparse.ArgumentTypeError(message)
    return name, kind, numbers


def _example(kind: str, sizes: tuple[int, ...]) -> Tensor:
    from netspec.imports.torch_front.export import EXAMPLE_BATCH
    from netspec.runtime.models.torch_build import require_torch

    torch = require_torch()
    types = {"": torch.float32, "int": torch.int64, "bool": torch.bool}
    found: Tensor = torch.zeros((EXAMPLE_BATCH, *sizes), dtype=types[kind])
    return found if kind else torch.randn((EXAMPLE_BATCH, *sizes))
