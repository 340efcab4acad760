"""The command line: finds the module of a verb, runs it, and turns exceptions into messages.

Each verb has a module of its own in this package.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import netspec
from netspec import codes
from netspec.cli.parser import CommandParser
from netspec.collector import rare_collections
from netspec.diagnostics import NetspecError
from netspec.project import where_to_report

# The exit codes.
OK, FAILED, WRONG_USE, INTERNAL_ERROR = 0, 1, 2, 70
# 128 plus the number of the signal, as in shells.
HUNG_UP, INTERRUPTED, BROKEN_PIPE, TERMINATED = 129, 130, 141, 143

VERBS = {
    "new": "copy a net that comes with netspec into this folder, to start from",
    "import": "make a .net file of a PyTorch or an ONNX model",
    "check": "check files and say exactly what is wrong",
    "summarize": "show layers, shapes, parameters and costs of a net",
    "draw": "draw a net: SVG, HTML, PNG, Mermaid or DOT",
    "diff": "show how two nets differ, layer by layer and in their costs",
    "fmt": "put files into the one canonical style",
    "watch": "check and summarize a net at every save, and show its picture in a browser",
    "lsp": "serve an editor: errors, fixes, shapes and completions while a net is written",
    "explain": "explain the code of an error or a warning, or a layer",
    "compile": "write the program that a net compiles to",
    "verify": "compare the reference, the NumPy program and the PyTorch module with each other",
    "gradcheck": "compare the gradients of a net with slopes measured by finite differences",
    "data": "look through a data set, or pack pictures into shards",
    "train": "train a net on labelled images",
    "sweep": "train a net with each combination of the values in a recipe",
    "runs": "list the runs that were kept, and compare them",
    "eval": "measure how good a trained net is, class by class",
    "predict": "classify pictures with a trained net",
    "generate": "write what may follow a text, with a trained net",
    "doctor": "look for problems in a net before spending hours on training it",
    "test-op": "test a file of ops of your own",
    "weights": "list the tensors of a file of weights, or compare two files",
    "plot": "draw the curves of runs, or the first filters of weights",
    "bench": "time a net next to its peers, or a course's layers",
}

# Verbs that end as soon as they have written what is made of a file.
_SHORT = frozenset({"import", "check", "summarize", "draw", "diff", "fmt", "compile"})

# Verbs whose modules have another name, because theirs is a word of Python.
_MODULES = {"import": "import_model"}

# How many characters of a file name an error message shows.
_SHOWN = 200

_EPILOG = """\
exit codes: 0 all is well (warnings allowed), 1 a file or a check failed, 2 wrong use.
Results go to stdout, messages to stderr.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A name in the file that the terminal cannot encode must not end the run.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    try:
        run, options = parse(arguments)
        # Without arguments this is the whole process.
        short = rare_collections(is_last=argv is None)
        with short if options.verb in _SHORT else nullcontext():
            code = _run(run, options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader is gone (`| head`). Python flushes stdout once more at exit, so it must go
        # somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except SystemExit as end:  # argparse, after --help or wrong use
        return end.code if isinstance(end.code, int) else WRONG_USE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return code


def _open_closed_streams() -> None:
    """Connect standard streams that are closed (`>&-`) to the null device.

    Otherwise the next file to be opened would get the file descriptor of the closed stream.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # `open` returns the lowest free descriptor, which is the closed stream's own.
            handle = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(handle, mode, encoding="utf-8", closefd=False))


def parse(arguments: list[str]) -> tuple[Callable[[argparse.Namespace], int], argparse.Namespace]:
    """Return the function to run and its parsed options; argparse exits on wrong use."""
    parser = CommandParser(
        prog="netspec",
        description="A compiler for neural networks that are written down in .net files.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"netspec {netspec.__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    # Making a parser takes a millisecond: if the verb is known, only its own is made.
    known = arguments[:1] if arguments and arguments[0] in VERBS else VERBS
    parsers = {
        name: verbs.add_parser(
            name, help=VERBS[name], description=f"{VERBS[name]}.", allow_abbrev=False
        )
        for name in known
    }
    parser.formatter_class = lambda prog: argparse.RawDescriptionHelpFormatter(
        prog, max_help_position=30
    )
    if not arguments:
        parser.print_help(sys.stderr)
        parser.exit(WRONG_USE)
    if arguments[0] not in VERBS:
        parser.parse_args(arguments)
        parser.error("a command is missing")
    # Only the verb that runs is imported: `check` must answer before NumPy could be loaded.
    name = _MODULES.get(arguments[0], arguments[0].replace("-", "_"))
    verb = importlib.import_module(f"netspec.cli.{name}")
    verb.configure(parsers[arguments[0]])
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        parsers[arguments[0]].refuse_unknown(unknown)
    return verb.run, options


def _run(run: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    try:
        for path in getattr(options, "ops", ()):
            netspec.load_ops(path)
        return run(options)
    except NetspecError as error:
        from netspec.cli.common import is_wrong_use, report

        report(error.diagnostics, options)
        return WRONG_USE if is_wrong_use(error.diagnostics) else FAILED
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except OSError as error:
        # For example a name that is too long, or a failing disk: an error of the file, wherever it
        # occurs.
        from netspec.cli.common import report

        report(_unusable(error).diagnostics, options)
        return FAILED
    except MemoryError:
        pass  # what it took is free behind this block, and is needed to say so
    except Exception as error:
        from netspec.cli.common import report, tell
        from netspec.compiler.parse.op_files import op_failure

        if (failure := op_failure(error)) is not None:
            report([failure], options)
            return FAILED
        tell(
            f"internal error, please report{where_to_report()}: {type(error).__name__}: {error}\n"
            "set NETSPEC_DEBUG=1 to see where"
        )
        if os.environ.get("NETSPEC_DEBUG"):
            import traceback

            traceback.print_exc()
        return INTERNAL_ERROR
    return _out_of_memory(options)


def _out_of_memory(options: argparse.Namespace) -> int:
    """Say that memory was refused, by the machine or by a limit such as that of `ulimit -v`."""
    try:
        from netspec.cli.common import report

        help = "give it more (ulimit -v), a smaller batch or fewer threads, or use a smaller net"
        error = NetspecError.simple(codes.LIMIT_MEMORY, "out of memory", help)
        report(error.diagnostics, options)
    except MemoryError:
        print("error[limit/memory]: out of memory", file=sys.stderr)
    return FAILED


def _unusable(error: OSError) -> NetspecError:
    """Convert an error of the operating system to an error about the file that it names."""
    name = f" {os.fsdecode(error.filename)[:_SHOWN]}" if isinstance(error.filename, str) else ""
    return NetspecError.simple(
        codes.FILE_UNREADABLE, f"cannot use{name or ' a file'}: {error.strerror or error}"
    )
