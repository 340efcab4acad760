"""`netspec diff A B`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.cli import FAILED, OK, WRONG_USE
from netspec.cli.common import add_net_options, arguments_of, emit, net_name, report, requested_net
from netspec.cli.named_run import NamedRun, named_run, setting_text
from netspec.cli.net_files import NetFile, files_below, net_files
from netspec.compiler.parse.git_revision import checked_out, is_revision
from netspec.diagnostics import NetspecError, plural
from netspec.records import record

if TYPE_CHECKING:
    from netspec.compiler.analysis.diff import GraphDiff
    from netspec.compiler.ir.graph import Graph


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    from netspec.compiler.analysis.diff import FORMATS, IGNORABLE

    parser.epilog = (
        "A and B are files, folders, names of nets that come with netspec, - for standard input, "
        "runs, which are their nets with the --set they were trained with, or REV:PATH for what a "
        "Git commit has there, such as HEAD~1:lenet.net. Exit codes are those of diff: 0 equal, "
        "1 different, 2 trouble."
    )
    parser.add_argument("a", metavar="A", type=net_name, help="a .net file, or a folder of them")
    parser.add_argument(
        "b", metavar="B", nargs="?", type=net_name,
        help="another one; by default the same, for other settings or another net",
    )  # fmt: skip
    add_net_options(parser)
    for side in "ab":
        name = side.upper()
        parser.add_argument(f"--net-{side}", metavar="NAME", help=f"the net to take from {name}")
        parser.add_argument(
            f"--set-{side}", metavar="NAME=VALUE", action="append", default=[],
            help=f"set an argument of {name} alone",
        )  # fmt: skip
    parser.add_argument(
        "--ignore", metavar="WHAT", action="append", default=[],
        help=f"what not to compare, of {','.join(IGNORABLE)}: the initial values; the names of values, "
        "labels, inputs, outputs, nets and blocks",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=tuple(FORMATS), default="text",
        help="text (default) for people, json for programs",
    )  # fmt: skip


@record
class _Choice:
    """Which net of one side is compared, and with which arguments."""

    net: str | None
    settings: tuple[str, ...]
    arguments: Mapping[str, Any]

    def of_run(self, run: NamedRun | None) -> _Choice:
        """Return the choice for a run: its net and its arguments, where nothing else is chosen."""
        if run is None:
            return self
        own = {n: v for n, v in run.facts.constants.items() if n not in self.arguments}
        settings = (
            *(f"{name}={setting_text(value)}" for name, value in own.items()),
            *self.settings,
        )
        return _Choice(self.net or run.facts.net, settings, {**own, **self.arguments})

    def graph(self, file: NetFile, options: argparse.Namespace) -> Graph:
        """Compile a file and return the graph of the chosen net, which is not too large to compare."""
        from netspec.compiler.passes.layer_limit import require_few_layers

        found = requested_net(file.request(self.net, self.arguments), options).graph
        require_few_layers(found)
        return found

    def title(self, file: NetFile, graph: Graph) -> str:
        """The name of this side in the comparison."""
        settings = f" with {', '.join(self.settings)}" if self.settings else ""
        return f"{file.name}: {graph.name}{settings}"


_Net = tuple[NetFile, _Choice]


def run(options: argparse.Namespace) -> int:
    """Print the comparison."""
    try:
        options.ignore = _ignored(options.ignore)
        choices = (
            _choice(options, options.net_a, options.set_a),
            _choice(options, options.net_b, options.set_b),
        )
        with ExitStack() as kept:
            a, b = (_open_side(name, kept) for name in (options.a, options.b or options.a))
            if a.file is not None and b.file is not None:
                chosen = choices[0].of_run(a.run), choices[1].of_run(b.run)
                return _two_files(a.file, b.file, chosen, options)
            if a.folder is not None and b.folder is not None:
                return _two_folders(a.files(), b.files(), choices, options)
            folder = a if a.folder is not None else b
            message = f"{folder.name} is a folder, and the other is a file"
            raise NetspecError.simple(codes.USAGE_DIFF, message)
    except NetspecError as error:
        # Exit code 1 would say that the nets are different.
        report(error.diagnostics, options)
        return WRONG_USE


def _ignored(given: list[str]) -> list[str]:
    """Return what is not compared, of several options and of lists with commas.

    Raises:
        NetspecError: `usage/diff`.
    """
    from netspec.compiler.analysis.diff import ignorable

    return [name for each in given for name in ignorable(each)]


def _two_files(
    a: NetFile, b: NetFile, choices: tuple[_Choice, _Choice], options: argparse.Namespace
) -> int:
    from netspec.compiler.analysis.diff import FORMATS

    comparison, *titles = _compared((a, choices[0]), (b, choices[1]), options)
    emit(FORMATS[options.format](comparison, *titles))
    return OK if comparison.equal else FAILED


def _compared(a: _Net, b: _Net, options: argparse.Namespace) -> tuple[GraphDiff, str, str]:
    """Compare two nets; return the comparison and the title of each net."""
    from netspec.compiler.analysis.diff import compare

    graphs = [choice.graph(file, options) for file, choice in (a, b)]
    titles = [
        choice.title(file, graph) for (file, choice), graph in zip((a, b), graphs, strict=True)
    ]
    return compare(graphs[0], graphs[1], frozenset(options.ignore)), titles[0], titles[1]


def _two_folders(
    before: Mapping[str, NetFile],
    after: Mapping[str, NetFile],
    choices: tuple[_Choice, _Choice],
    options: argparse.Namespace,
) -> int:
    """Compare the files that have the same path in both folders.

    Files without a net are libraries of blocks: they count only through the nets that use them.
    """
    from netspec.compiler.analysis.diff import FORMATS, as_dict

    sides = [_nets(files, choice) for files, choice in zip((before, after), choices, strict=True)]
    only = [f"only in A: {each}" for each in sides[0] if each not in sides[1]]
    only += [f"only in B: {each}" for each in sides[1] if each not in sides[0]]
    found = [
        _compared(sides[0][each], sides[1][each], options) for each in sides[0] if each in sides[1]
    ]
    different = [each for each in found if not each[0].equal]
    equal = not only and not different
    if options.format == "json":
        import json

        told = [as_dict(*each) for each in found]
        emit(json.dumps({"equal": equal, "only": only, "nets": told}, indent=2, default=str))
    else:
        texts = [FORMATS["text"](*each) for each in different]
        counts = f"{plural(len(found), 'net')} compared, {len(different)} different"
        emit("\n\n".join([*texts, "\n".join([*only, counts])]))
    return OK if equal else FAILED


def _nets(files: Mapping[str, NetFile], choice: _Choice) -> dict[str, _Net]:
    """Return the nets of a folder by the names that both sides use for them.

    If a net was chosen by name, only nets of this name are included.

    Raises:
        NetspecError: with the errors of a file.
    """
    from netspec.compiler.driver import compile_request

    found: dict[str, _Net] = {}
    for path, file in files.items():
        result = compile_request(file.request())
        if result.errors:
            raise NetspecError(result.errors)
        for net in result.graphs:
            if choice.net in (None, net):
                name = path if choice.net or len(result.graphs) == 1 else f"{path}: {net}"
                found[name] = file, replace(choice, net=net)
    return found


def _choice(options: argparse.Namespace, net: str | None, settings: list[str]) -> _Choice:
    """Combine the options for both sides with those for one side, which take precedence."""
    own = {_name(setting) for setting in settings}
    both = [setting for setting in options.set if _name(setting) not in own]
    chosen = (*both, *settings)
    arguments = arguments_of(argparse.Namespace(set=chosen))
    return _Choice(net or options.net, chosen, arguments)


def _name(setting: str) -> str:
    return setting.partition("=")[0].strip()


@record
class _Side:
    """One of the two sides of a comparison: a file or a folder.

    A run is the file that it keeps of its net. `shown` is the name of a folder in messages; one that
    was `copied` from a revision is no place of imports.
    """

    name: str
    file: NetFile | None = None
    folder: Path | None = None
    shown: str = ""
    copied: bool = False
    run: NamedRun | None = None

    def files(self) -> dict[str, NetFile]:
        """Return the files of the folder by their relative paths, once the other side is known to be one.

        Raises:
            NetspecError: `file/no-net`.
        """
        assert self.folder is not None
        files = {}
        for path in files_below(self.folder):
            inside = path.relative_to(self.folder).as_posix()
            own = path.parent if self.copied else None
            files[inside] = NetFile(f"{self.shown}/{inside}", path, own)
        return files


def _open_side(name: str, kept: ExitStack) -> _Side:
    """Open `A` or `B` of `netspec diff A B`; temporary copies are deleted when `kept` closes.

    Raises:
        NetspecError: if there is no such file or revision; `run/damaged`.
    """
    if is_revision(name):
        copy = kept.enter_context(checked_out(name))
        revision, _, path = name.partition(":")
        if copy.is_file():
            # So that its imports are shown with their folder, too.
            beside = path if "/" in path else f"./{path}"
            return _Side(name, file=NetFile(f"{revision}:{beside}", copy, copy.parent))
        return _Side(name, folder=copy, shown=f"{revision}:{path or '.'}", copied=True)
    if (run := named_run(Path(name))) is not None:
        return _Side(name, file=NetFile(name, run.net_file), run=run)
    if Path(name).is_dir():
        return _Side(name, folder=Path(name), shown=Path(name).as_posix())
    (file,) = net_files([name])
    return _Side(name, file=file)
