"""`netspec compile FILE --target numpy|torch|c|onnx`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from netspec import codes
from netspec.cli import FAILED, OK
from netspec.cli.c_file import CFile, add_c_options, chosen_options
from netspec.cli.common import (
    add_net_file,
    add_net_options,
    checked_net,
    emit_text,
    tell,
    write_whole,
)
from netspec.cli.named_run import named_run
from netspec.cli.normalized_files import add_normalize_option
from netspec.cli.onnx_target import add_onnx_options, chosen_onnx_options, compile_model
from netspec.cli.output_ending import check_ending
from netspec.cli.output_place import (
    add_force_option,
    check_output,
    compiled_before,
    net_sources,
    say_out_of_date,
)
from netspec.cli.recipe_arguments import say_recipe_arguments
from netspec.cli.torch_target import module_source
from netspec.cli.trained_net import Trained, named_weights
from netspec.cli.weights import add_rename_option
from netspec.diagnostics import NetspecError
from netspec.text.text_diff import text_diff

if TYPE_CHECKING:
    from netspec.net import Net

_STANDALONE = "numpy --standalone"
# The targets whose files hold weights.
_WITH_WEIGHTS = ("c", "onnx", _STANDALONE)
# And those that ask them how inputs were normalised.
_WITH_DATA = (*_WITH_WEIGHTS, "torch")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_net_file(parser)
    parser.add_argument(
        "--target", choices=("numpy", "torch", "c", "onnx"), required=True,
        help="numpy: forward and the analytic backward pass, as it is run by `train numpy`;"
        " torch: a PyTorch module that needs torch and nothing else; c: one C99 file that predicts;"
        " onnx: an ONNX model, written to -o OUT",
    )  # fmt: skip
    add_net_options(parser)
    parser.add_argument(
        "--inference", action="store_true",
        help="numpy: the forward pass in evaluation alone, batch norms folded into other layers;"
        " onnx: batch norms folded too",
    )  # fmt: skip
    parser.add_argument(
        "--plain", action="store_true",
        help="numpy: a program to learn from: no pass, a call or a formula for each layer, and the"
        " backward pass in mirror order",
    )  # fmt: skip
    parser.add_argument(
        "--standalone", action="store_true",
        help="numpy: one file that needs NumPy and nothing else, kernels and weights reader included",
    )  # fmt: skip
    parser.add_argument(
        "--explain-plan", action="store_true",
        help="numpy: print what each pass did and what that should gain, and the plan, for the program",
    )  # fmt: skip
    parser.add_argument(
        "--no-source-notes", dest="source_notes", action="store_false",
        help="torch: no comments that say where in the file a statement is from",
    )  # fmt: skip
    parser.add_argument("--weights", type=Path, metavar="W",
                        help="c, onnx, numpy --standalone: trained weights, a file or the folder of a run"
                        " (default: those of the run, else the initial values of seed 0); torch: the"
                        " module says what data they are for, and holds none")  # fmt: skip
    add_rename_option(parser)
    for name, about in _passes().items():
        parser.add_argument(
            f"--no-{name}", dest="without", action="append_const", const=name,
            help=f"numpy: do not {about}",
        )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, help="write to this file instead of stdout"
    )
    parser.add_argument(
        "--check", action="store_true",
        help="write nothing; show how the file named by -o differs from the new source, and exit"
        " with 1 if it does",
    )  # fmt: skip
    add_force_option(parser)
    add_normalize_option(parser)
    add_c_options(parser)
    add_onnx_options(parser)


def run(options: argparse.Namespace) -> int:
    """Print or write the program, or compare it with an existing file."""
    if options.check and options.output is None:
        raise NetspecError.simple(
            codes.USAGE_CHECK, "--check needs -o OUT, the file to compare with"
        )
    _require_target(options)
    if not options.check:
        say_recipe_arguments(options)
    if options.target == "c":
        return _run_c(options)
    trained = named_weights(options) if options.standalone else None
    net = checked_net(options) if trained is None else trained.net
    if options.output is not None and not options.check:
        check_output(options.output, net_sources(net), force=options.force)
    if options.target == "onnx":
        return compile_model(net, options)
    text = _text(net, trained, options)
    _say_weights(options)
    if options.check:
        return _check(options.output, text)
    if options.output is None:
        emit_text(text)
    else:
        write_whole(options.output, text)
    return OK


def _run_c(options: argparse.Namespace) -> int:
    """Write the C file and what lies beside it, or compare it with an existing file."""
    made = CFile(options)
    if options.check:
        return _check_all(made)
    if options.output is not None:
        made.check_places()
    made.write()
    return OK


def _check_all(made: CFile) -> int:
    """Compare the C file and all that lies beside it; a difference of numbers is only said."""
    found = OK
    for path, content in made.files().items():
        if content == made.source.weights:
            held = compiled_before(path, len(content))
            if held is not None and held != content:
                say_out_of_date(path)
            same = OK if held == content else FAILED
        else:
            same = _check(path, content.decode())
        found = max(found, same)
    return found


def _passes() -> dict[str, str]:
    """Return the optional passes by name, with a description of each."""
    from netspec.compiler.numpy_backend.pass_names import PASS_NAMES

    return PASS_NAMES


def _require_target(options: argparse.Namespace) -> None:
    """Refuse options that only other targets have, and those that exclude each other.

    Raises:
        NetspecError: `usage/target`.
    """
    chosen: list[tuple[str, object, tuple[str, ...]]] = [
        ("--inference", options.inference, ("numpy", "onnx")),
        ("--plain", options.plain, ("numpy",)),
        ("--standalone", options.standalone, ("numpy",)),
        ("--explain-plan", options.explain_plan, ("numpy",)),
        *((f"--no-{name}", True, ("numpy",)) for name in options.without or ()),
        ("--no-source-notes", not options.source_notes, ("torch",)),
        ("--weights", options.weights, _WITH_DATA),
        ("--rename", options.rename, _WITH_DATA),
        ("--normalize", options.normalize_input, ("c", "onnx", "torch")),
        *((option, True, ("c",)) for option in chosen_options(options)),
        *((option, True, ("onnx",)) for option in chosen_onnx_options(options)),
    ]
    kinds = {options.target, _STANDALONE if options.standalone else options.target}
    wrong = [(o, targets) for o, on, targets in chosen if on and not kinds & {*targets}]
    if wrong:
        targets = wrong[0][1]
        names = ", ".join(option for option, others in wrong if others == targets)
        only = f"{targets[0]} alone" if len(targets) == 1 else " or ".join(targets)
        raise NetspecError.simple(codes.USAGE_TARGET, f"{names}: for --target {only}")
    if options.target == "onnx" and options.output is None:
        message = "--target onnx writes a file: name it with -o OUT"
        raise NetspecError.simple(codes.USAGE_TARGET, message)
    if options.output is not None:
        check_ending(options.output, options.target)
    if options.standalone and options.explain_plan:
        message = "--explain-plan prints no program: leave out --standalone"
        raise NetspecError.simple(codes.USAGE_TARGET, message)
    if options.plain and (options.standalone or options.explain_plan):
        help = "leave out one of the two"
        if options.standalone:
            message = (
                "--plain is a program to read, and --standalone a file to run, of fast kernels"
            )
            help += (
                ": what the plain program calls is in netspec.kernels, as loops in .course.naive"
            )
        else:
            message = "--explain-plan shows what the passes make of a net, and --plain has none"
        raise NetspecError.simple(codes.USAGE_TARGET, message, help)


def _text(net: Net, trained: Trained | None, options: argparse.Namespace) -> str:
    """Return the program, or the explanation of it, as the options ask."""
    if options.target == "torch":
        return module_source(net, options)
    training, without = not options.inference, tuple(options.without or ())
    if options.standalone:
        from netspec.export import standalone_source

        weights = None if trained is None else _held(trained, options)
        return standalone_source(net.graph, training=training, without=without, weights=weights)
    if options.explain_plan:
        from netspec.compiler.numpy_backend.explain import explain_plan

        return explain_plan(net.graph, training=training, without=without)
    return net.source("numpy", training=training, without=without, plain=options.plain)


def _held(trained: Trained, options: argparse.Namespace) -> bytes | None:
    """Return the weights file that a standalone file holds, in float32.

    None if they are too many, which is said on stderr with the way to load them.
    """
    import numpy as np

    from netspec.export.assemble import MAX_WEIGHTS
    from netspec.runtime.weights.safetensors_file import weights_bytes

    tensors = {
        name: tensor.astype(np.float32) if tensor.dtype.kind == "f" else tensor
        for name, tensor in trained.model.state_dict().items()
    }
    stored = trained.weights
    content = weights_bytes(tensors, stored.normalization, stored.metadata)
    if len(content) <= MAX_WEIGHTS:
        return content
    size = f"{len(content) / 1e6:,.0f} MB"
    tell(f"note: the file holds no weights, which are {size}: {_loaded(trained, options)}")
    return None


def _loaded(trained: Trained, options: argparse.Namespace) -> str:
    """Return how a standalone file loads weights that it does not hold."""
    from netspec.runtime.weights.weights_file import RUN_WEIGHTS

    path = trained.path / RUN_WEIGHTS if trained.path.is_dir() else trained.path
    if path.suffix == ".safetensors" and path.is_file() and not options.rename:
        return f'load_weights("{path}")'
    saved = 'netspec.save_weights("w.safetensors", model.state_dict())'
    return f"it loads safetensors with the net's own names, which {saved} writes"


def _say_weights(options: argparse.Namespace) -> None:
    """Note on stderr where the weights of a run are, if what is written holds none."""
    run = named_run(options.file)
    if run is None or options.standalone or options.explain_plan or options.check:
        return
    if not run.folder.weights.is_file():
        return
    if options.target == "torch":
        how = f'load_state_dict(safetensors.torch.load_file("{run.weights}"))'
    else:
        how = "--standalone writes a file that does"
    tell(f"note: the program holds no weights of {run.folder.path}: {how}")


# A file that is longer than this many times the one that is compiled, and so many bytes, is another one.
_MOST_TIMES, _MOST_MORE = 4, 1 << 20


def _check(path: Path, text: str) -> int:
    """Return OK if a file holds this text; line endings are ignored.

    Raises:
        NetspecError: `file/unreadable`.
    """
    most = _MOST_TIMES * len(text.encode()) + _MOST_MORE
    held = compiled_before(path, most)
    if held is None:
        return FAILED
    if len(held) > most:
        tell(f"{path} has more than {most:,} bytes, of which no difference is shown")
        say_out_of_date(path)
        return FAILED
    there = held.decode(errors="replace").replace("\r\n", "\n")
    if there == text:
        return OK
    emit_text(text_diff(there, text, str(path), "compiled now"))
    say_out_of_date(path)
    return FAILED
