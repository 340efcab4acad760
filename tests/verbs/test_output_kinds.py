"""Every verb that writes, with every kind of path: only regular files are replaced.

The verbs and their options are those of the command line's parsers: one that is new is in these tests,
or they fail. The test makes all special files itself, in its own folder.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import os
import re
import shutil
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec import cli
from netspec.cli import VERBS, import_model
from netspec.compiler import onnx_backend
from netspec.compiler.c_backend import emit as c_file
from netspec.compiler.onnx_backend import OnnxOptions
from netspec.imports.imported_text import ImportedText
from netspec.runtime.weights.safetensors_file import save_weights
from tests.conftest import Run
from tests.helpers.heavy import some_quick

NET = "net Tiny() { input image: [1, 8, 8]\n  output image -> flatten -> linear(10) }\n"
MENDED = (
    "net tiny() {\n    input image: [1, 8, 8]\n\n    output image -> flatten -> linear(10)\n}\n"
)
TRAIN = "train numpy tiny.net --train-limit 64 --epochs 1 --quiet --out"


@dataclass(frozen=True)
class Writer:
    """A command that writes a file.

    Attributes:
        command: the words before the name of the file.
        end: how the file's name ends.
        named: how the name ends that is given, if the file is written beside that one.
        library: the optional package that it needs.
    """

    command: str
    end: str
    named: str = ""
    library: str = ""

    @property
    def option(self) -> str:
        """The option that names the file."""
        return self.command.split()[-1]

    def words(self, place: Path) -> list[str]:
        """Return the whole command."""
        given = str(place).removesuffix(self.end) + (self.named or self.end)
        return [*self.command.split(), given]


C = "compile tiny.net --target c"
# Every verb that writes a file of a given name.
WRITERS = {
    "numpy": Writer("compile tiny.net --target numpy -o", ".py"),
    "torch": Writer("compile tiny.net --target torch -o", ".py"),
    "c": Writer(f"{C} -o", ".c"),
    "header": Writer(f"{C} --header -o", ".h", ".c"),
    "example": Writer(f"{C} --train --header --example -o", "_main.c", ".c"),
    "c weights": Writer(f"{C} -o", ".weights", ".c"),
    "onnx": Writer("compile tiny.net --target onnx -o", ".onnx", library="onnx"),
    "onnx data": Writer("compile tiny.net --target onnx -o", ".onnx.data", ".onnx", "onnx"),
    "weights": Writer(TRAIN, ".safetensors"),
    "picture": Writer("draw tiny.net -o", ".svg"),
    "page": Writer("draw tiny.net -o", ".html"),
    "paper": Writer("draw tiny.net -o", ".pdf"),
    "curves": Writer("plot run -o", ".svg", library="matplotlib"),
    "filters": Writer("plot --filters filters.safetensors -o", ".png"),
    "doctor": Writer("doctor tiny.net --plot", ".png", library="matplotlib"),
    "data": Writer("data info digits --picture", ".png", library="matplotlib"),
    "mistakes": Writer("eval run --mistakes", ".png"),
    "rates": Writer("train numpy tiny.net --find-lr", ".png", library="matplotlib"),
    "net from onnx": Writer("import onnx tiny.onnx -o", ".net", library="onnx"),
    "weights from onnx": Writer(
        "import onnx tiny.onnx --weights-out", ".safetensors", library="onnx"
    ),
    "net from torch": Writer("import torch tiny.pt2 -o", ".net", library="torch"),
    "weights from torch": Writer(
        "import torch tiny.pt2 --weights-out", ".safetensors", library="torch"
    ),
}
# Those that share the way of another one are tried with every kind of path by `make test-all` alone.
QUICK = ("numpy", "header", "example", "onnx data", "weights", "picture", "curves", "filters", "doctor",
         "net from onnx", "weights from torch")  # fmt: skip
EACH_WRITER = some_quick(WRITERS, QUICK)
# The verbs that rewrite what they read.
REWRITERS = {
    "fmt": ("fmt", NET),
    "shapes": ("fmt --shapes", NET),
    "fix": ("check --strict --fix", MENDED),
}

# ----------------------------------------------------------------------- which verbs write, and what

OF_ANY_NET = {"--net", "--set", "--ops"}
OF_WEIGHTS = {"file", "--weights", "--rename"}
# The options that take a text, verb by verb, and name nothing that is written.
ONLY_READ: dict[str, set[str]] = {
    "import torch": {"source", "--name", "--weights"}, "import onnx": {"source", "--outputs"},
    "check": {"--assert", "--forbid", "--require", "--input", "--output"},
    "summarize": {"file", "--columns"}, "draw": {"file"}, "watch": {"file"}, "lsp": set(),
    "diff": {"a", "b", "--ignore", "--net-a", "--set-a", "--net-b", "--set-b"}, "explain": {"code"},
    "compile": {*OF_WEIGHTS, "--calibrate", "--data-dir"}, "verify": {*OF_WEIGHTS, "--against",
              "--data", "--data-dir"},
    "gradcheck": {*OF_WEIGHTS, "--params", "--from", "--to", "--data", "--data-dir"},
    "data info": {"name", "--data-dir"}, "data pack": {"folder"},
    "train": {*OF_WEIGHTS, "target", "--recipe", "--data", "--data-dir", "--also", "--freeze",
              "--train-only", "--plain", "--whiten"},
    "sweep": {"file", "--columns"}, "runs": {"runs", "--columns"},
    "eval": {*OF_WEIGHTS, "--data", "--data-dir"},
    "predict": {*OF_WEIGHTS, "images"},
    "generate": {*OF_WEIGHTS, "--prompt", "--tokens"}, "doctor": {"file", "--data", "--data-dir"},
    "test-op": {"file", "--op"}, "weights": {"file", "other", "--rename"},
    "plot": {"runs", "--filters", "--layer", "--what"}, "bench": {*OF_WEIGHTS, "--against"},
}  # fmt: skip
# What is written where no option names it: the file itself, a copy in the working folder, a run.
REWRITTEN = {("fmt", "files"), ("check", "files"), ("new", "name"), ("train", "--resume"),
             ("sweep", "--out"), ("data pack", "--output")}  # fmt: skip
# The modules that open, move or remove files, and why the walk below needs no other verb for them.
WRITING = {
    "files/regular_file.py": "what everything else opens files with",
    "runtime/weights/atomic_write.py": "each file of a given name that is regular",
    "runtime/weights/output_file.py": "each file of a given name: all of the writers",
    "runtime/plots/figures.py": "a picture, in memory",
    "draw/pdf.py": "a picture, in memory",
    "cli/__init__.py": "the null device, for a stream that is closed",
    "cli/interrupts.py": "the null device, for a terminal that is gone",
    "tools/bench/worker.py": "the null device, for what a peer prints",
    "cli/lsp.py": "the standard output that is there",
    "cli/new.py": "test_a_new_net_replaces_nothing",
    "runtime/runs/folder.py": "a run: test_a_run_is_made_where_nothing_is",
    "runtime/runs/checkpoint.py": "in the folder of a run: tests/training/test_foreign_runs.py",
    "runtime/runs/metrics.py": "in the folder of a run: tests/training/test_foreign_runs.py",
    "runtime/data/files.py": "a folder for data sets",
    "runtime/data/shard_names.py": "the user's cache: tests/training/test_shards.py",
    "runtime/data/stored_pictures.py": "the user's cache: tests/training/test_pictures_on_demand.py",
    "runtime/data/packing.py": "a folder of its own: tests/training/test_shards.py",
    "runtime/data/cifar.py": "the batches of an archive, into a folder for data sets",
    "compiler/parse/tables.py": "the user's cache: tests/state/test_cache_folder.py",
    "runtime/models/emitters/table.py": "the user's cache: tests/state/test_cache_folder.py",
    "runtime/engine/native/library_cache.py": "the user's cache: tests/c_backend/test_native.py",
    "compiler/parse/git_revision.py": "a folder of its own",
    "tools/agreement/c_trace.py": "a folder of its own",
    "export/weights_file.py": "what standalone programs do",
}
_CHANGES = {
    "write_text", "write_bytes", "savefig", "mkdir", "mkdtemp", "mkstemp", "makedirs", "symlink_to",
    "touch", "hardlink_to", "rename", "unlink", "rmdir", "rmtree", "copyfile", "copytree", "move",
    "truncate",
}  # fmt: skip
_FLAGS = {"O_CREAT", "O_WRONLY", "O_RDWR"}


def changes_files(node: ast.AST) -> bool:
    """Whether a piece of Python opens a file for writing, moves one or removes one."""
    if isinstance(node, ast.Attribute):
        return node.attr in _FLAGS
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
        return True
    words = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    name = ast.unparse(node.func)
    opens = name.endswith("open") and any(
        set(w) <= set("rwaxbtU+") and set(w) & set("wax+") for w in words
    )
    return opens or name in ("os.replace", "np.save", "np.savez", "torch.save", "shutil.copy")


def parsers_of(
    parser: argparse.ArgumentParser, name: str
) -> Iterator[tuple[str, list[argparse.Action]]]:
    """Yield a verb's parser and those of its parts, by name."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    yield name, [action for action in parser._actions if action not in below]
    for action in below:
        for part, inner in action.choices.items():
            yield from parsers_of(inner, f"{name} {part}")


def takes_text(action: argparse.Action) -> bool:
    """Whether an option can be the name of a file."""
    if action.nargs == 0 or action.choices is not None:
        return False
    if not callable(action.type):
        return True
    try:
        action.type("some/where.net")
    except (ValueError, argparse.ArgumentTypeError):
        return False
    return True


def test_every_option_is_known_to_name_what_is_read_or_what_is_written() -> None:
    asked, written = set(), set()
    for verb in VERBS:
        parser = argparse.ArgumentParser()
        module = importlib.import_module(
            f"netspec.cli.{cli._MODULES.get(verb, verb.replace('-', '_'))}"
        )
        module.configure(parser)
        for name, actions in parsers_of(parser, verb):
            for action in filter(takes_text, actions):
                names = action.option_strings or [action.dest]
                if {names[-1]} & (OF_ANY_NET | ONLY_READ.get(name, set())):
                    continue
                asked.add((name, names[-1]))
                written |= {(name, names[-1]) for w in WRITERS.values()
                            if w.command.startswith(f"{name} ") and w.option in names}  # fmt: skip
    assert asked == written | REWRITTEN
    assert not written & REWRITTEN


def test_every_module_that_writes_is_known() -> None:
    root = Path(netspec.__file__).parent
    texts = {p.relative_to(root).as_posix(): p.read_text("utf-8") for p in root.rglob("*.py")}
    words = re.compile("|".join([*_CHANGES, *_FLAGS, "open", r"os\.replace", "save"]))
    found = {
        name
        for name, text in texts.items()
        if words.search(text) and any(map(changes_files, ast.walk(ast.parse(text))))
    }
    assert found == set(WRITING)


# ------------------------------------------------------------------------------------ kinds of paths


@dataclass(frozen=True)
class Place:
    """A path of some kind: the name to give, and the file that is written then."""

    name: Path
    written: Path | None


def regular(folder: Path, end: str) -> Place:
    path = folder / f"out{end}"
    path.touch()
    return Place(path, path)


def missing(folder: Path, end: str) -> Place:
    path = folder / f"out{end}"
    return Place(path, path)


def long_name(folder: Path, end: str) -> Place:
    path = folder / f"{'n' * 240}{end}"
    return Place(path, path)


def outside(folder: Path, end: str) -> Place:
    (folder.parent / "elsewhere").mkdir()
    path = folder / f"../elsewhere/out{end}"
    return Place(path, path)


def link(folder: Path, end: str) -> Place:
    return linked(folder, end, folder / f"far{end}", there=True)


def link_outside(folder: Path, end: str) -> Place:
    (folder.parent / "elsewhere").mkdir()
    return linked(folder, end, folder.parent / f"elsewhere/far{end}", there=True)


def dangling_link(folder: Path, end: str) -> Place:
    return linked(folder, end, folder / f"far{end}", there=False)


def linked(folder: Path, end: str, far: Path, *, there: bool) -> Place:
    if there:
        far.touch()
    path = folder / f"out{end}"
    path.symlink_to(far)
    return Place(path, far)


def link_to_itself(folder: Path, end: str) -> Place:
    path = folder / f"out{end}"
    path.symlink_to(path.name)
    return Place(path, None)


def link_into_nothing(folder: Path, end: str) -> Place:
    path = folder / f"out{end}"
    path.symlink_to(folder / "absent" / path.name)
    return Place(path, None)


def a_folder(folder: Path, end: str) -> Place:
    path = folder / f"out{end}"
    path.mkdir()
    (path / "kept").touch()
    return Place(path, None)


def in_a_missing_folder(folder: Path, end: str) -> Place:
    return Place(folder / f"absent/out{end}", None)


def a_socket(folder: Path, end: str) -> Place:
    path = folder / f"out{end}"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)  # an absolute one may be too long
    return Place(path, None)


def read_only(folder: Path, end: str) -> Place:
    path = folder / f"out{end}"
    path.touch()
    path.chmod(0o444)
    return Place(path, None)


def in_a_read_only_folder(folder: Path, end: str) -> Place:
    (folder / "closed").mkdir(mode=0o555)
    return Place(folder / f"closed/out{end}", None)


def a_fifo(folder: Path, end: str) -> Place:
    path = folder / f"out{end}"
    os.mkfifo(path)
    return Place(path, None)


def a_device(folder: Path, end: str) -> Place:
    path = folder / f"out{end}"
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except OSError:
        pytest.skip("devices can be made by root alone")
    return Place(path, None)


KINDS = [
    regular, missing, long_name, outside, link, link_outside, dangling_link, link_to_itself,
    link_into_nothing, a_folder, in_a_missing_folder, a_socket, read_only, in_a_read_only_folder,
]  # fmt: skip


Find = Callable[[str], Writer]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("tiny.net").write_text(NET)

    def access(path: os.PathLike[str], mode: int) -> bool:
        """Return what an ordinary user would get, also if the tests run as root."""
        return not mode & os.W_OK or bool(Path(path).stat().st_mode & 0o200)

    monkeypatch.setattr(os, "access", access)
    return folder


@pytest.fixture(scope="module")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, made once."""
    from netspec.cli import main

    folder = tmp_path_factory.mktemp("made")
    net = folder / "tiny.net"
    net.write_text(NET)
    command = f"train numpy {net} --train-limit 64 --epochs 1 --quiet --out {folder / 'run'}"
    assert main(command.split()) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def imported() -> ImportedText:
    """What an import finds: the walk is about where that is written."""
    net = netspec.loads(NET)
    return ImportedText(NET, net, net.compile().state_dict(), 0.0)


@pytest.fixture
def command_of(
    made_run: Path, imported: ImportedText, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Writer]:
    """Return a writer, after making what it reads."""

    def find(name: str) -> Writer:
        writer = WRITERS[name]
        if writer.library:
            pytest.importorskip(writer.library)
        if name in ("curves", "mistakes"):
            shutil.copytree(made_run, "run")
        elif name == "filters":
            save_weights("filters.safetensors", {"conv.weight": np.ones((2, 1, 3, 3), np.float32)})
        elif name == "c weights":
            monkeypatch.setattr(c_file, "LARGE", 100)
        elif name == "onnx data":
            monkeypatch.setattr(
                onnx_backend, "OnnxOptions", functools.partial(OnnxOptions, most_inside=100)
            )
        elif "from" in name:
            Path("tiny.onnx").touch()
            Path("tiny.pt2").touch()
            for tool in ("_from_onnx", "_from_torch"):
                monkeypatch.setattr(import_model, tool, lambda options: imported)
        return writer

    return find


def names_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("writer", EACH_WRITER)
def test_what_is_written_is_the_file_that_was_meant(
    run: Run, project: Path, command_of: Find, writer: str, kind: Callable[[Path, str], Place]
) -> None:
    found = command_of(writer)
    place = kind(project, found.end)
    what = place.name.lstat().st_mode if os.path.lexists(place.name) else stat.S_IFREG
    before = names_below(project.parent)
    # What lies beside the files of a verb is not the verb's.
    finished = run(*found.words(place.name), *(["--force"] if found.named else []))
    if place.written is None:
        assert finished.code == 1
        assert "error[output/unwritable]: cannot write" in finished.err
        assert names_below(project.parent) == before
    else:
        assert "error" not in finished.err
        assert place.written.stat().st_size > 0
        stem = place.name.name.removesuffix(found.end)
        new = names_below(project.parent) - before
        others = {
            n for n in new if n.rpartition("/")[2] in {f"{stem}{e}" for e in (".c", ".h", ".onnx")}
        }
        others = others if found.named else set()
        assert new - others <= {str(place.written.resolve().relative_to(project.parent.resolve()))}
    if os.path.lexists(place.name):
        assert stat.S_IFMT(place.name.lstat().st_mode) == stat.S_IFMT(what)


@pytest.mark.parametrize("writer", EACH_WRITER)
def test_a_fifo_gets_what_a_file_would_hold(
    run: Run, project: Path, command_of: Find, writer: str
) -> None:
    found = command_of(writer)
    fifo, got = project / f"out{found.end}", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()), daemon=True)
    reader.start()
    finished = run(*found.words(fifo))
    assert "error" not in finished.err
    reader.join(20)
    assert fifo.is_fifo()
    fifo.unlink()
    run(*found.words(fifo))
    assert [each[:200] for each in got] == [fifo.read_bytes()[:200]]


@pytest.mark.parametrize("writer", EACH_WRITER)
def test_a_device_is_written_to_and_stays(
    run: Run, project: Path, command_of: Find, writer: str
) -> None:
    found = command_of(writer)
    device = project / f"out{found.end}"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # a null device of our own
        device.write_bytes(b"")
    except OSError:
        pytest.skip("devices can be made by root alone")
    finished = run(*found.words(device))
    assert "error" not in finished.err
    assert device.is_char_device()


@pytest.mark.parametrize("writer", ["numpy", "torch", "c"])
@pytest.mark.parametrize("name", [".", "", "..", "/"])
def test_a_program_is_no_folder(run: Run, project: Path, writer: str, name: str) -> None:
    before = names_below(project.parent)
    finished = run(*WRITERS[writer].command.split(), name)
    assert finished.code == 1
    assert "error[output/unwritable]" in finished.err
    assert "it is a folder" in finished.err
    assert names_below(project.parent) == before


def test_a_net_and_its_weights_are_two_files(run: Run, project: Path, command_of: Find) -> None:
    found = command_of("net from onnx")
    finished = run(*found.words(project / "out.net"), "--weights-out", "../project/out.net")
    assert finished.code == 1
    assert "two files" in finished.err
    assert not Path("out.net").exists()


@pytest.mark.parametrize("kind", [*KINDS, a_fifo, a_device])
def test_a_run_is_made_where_nothing_is(
    run: Run, project: Path, kind: Callable[[Path, str], Place]
) -> None:
    """A run is a folder: it replaces no file, and follows no link."""
    place = kind(project, "")
    before = {name: (project.parent / name).lstat().st_mode for name in names_below(project.parent)}
    finished = run(*TRAIN.split(), place.name, "--data", "digits")
    after = names_below(project.parent)
    assert before.keys() <= after
    assert {name: (project.parent / name).lstat().st_mode for name in before} == before
    if kind in (missing, long_name, outside, in_a_missing_folder):
        assert finished.code == 0, finished.err
        made = place.name.resolve().relative_to(project.parent.resolve())
        made = made.parent if kind is in_a_missing_folder else made
        assert all(Path(name).is_relative_to(made) for name in after - before.keys())
    else:
        assert finished.code in (1, 2)
        assert "error[" in finished.err
        assert after == before.keys()


EXISTING = [regular, link, link_outside, dangling_link, link_to_itself, a_folder, a_socket]


@pytest.mark.parametrize("kind", EXISTING)
@pytest.mark.parametrize("second", ["threelayer.net", "threelayer.toml"])
def test_a_new_net_replaces_nothing(
    run: Run, project: Path, second: str, kind: Callable[[Path, str], Place]
) -> None:
    place = kind(project, ".net")
    place.name.rename(second)
    before = names_below(project.parent)
    finished = run("new", "threelayer")
    assert finished.code == 1
    assert f"error[output/exists]: {second} already exists" in finished.err
    assert names_below(project.parent) == before
    assert place.written is None or not place.written.exists() or not place.written.stat().st_size


# ----------------------------------------------------------------------- verbs that mend what they read


@pytest.mark.parametrize("verb", REWRITERS)
def test_a_file_that_is_mended_stays_what_it_is(run: Run, project: Path, verb: str) -> None:
    command, text = REWRITERS[verb]
    file, far = Path("a.net"), project.parent / "far.net"
    for mode in (0o640, 0o600):
        far.write_text(text)
        far.chmod(mode)
        file.unlink(missing_ok=True)
        file.symlink_to(far)
        assert run(*command.split(), file).code == 0
        assert file.is_symlink()
        assert far.read_text() != text
        assert stat.S_IMODE(far.stat().st_mode) == mode
    assert names_below(project.parent) == {
        "far.net",
        "project",
        "project/a.net",
        "project/tiny.net",
    }


@pytest.mark.parametrize("verb", REWRITERS)
def test_a_file_that_is_read_only_is_not_mended(run: Run, verb: str) -> None:
    command, text = REWRITERS[verb]
    file = Path("a.net")
    file.write_text(text)
    file.chmod(0o444)
    finished = run(*command.split(), file)
    assert "error[output/unwritable]: cannot write a.net: it is read-only" in finished.err
    assert file.read_text() == text


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "folder", "link to itself", "absent"])
@pytest.mark.parametrize("verb", ["fmt", "check", "check --fix", "summarize", "recipe"])
def test_nothing_but_a_regular_file_is_read(run: Run, project: Path, verb: str, kind: str) -> None:
    """It also does not wait: a FIFO without a writer would keep a reader for ever."""
    path = project / "odd.net"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        a_socket(project, ".net").name.rename(path)
    elif kind == "device":
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # zeros without end
        except OSError:
            pytest.skip("devices can be made by root alone")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to itself":
        path.symlink_to(path.name)
    command = ["train", "numpy", "tiny.net", "--recipe"] if verb == "recipe" else verb.split()
    finished = run(*command, path)
    assert finished.code == 1
    wanted = (
        "file/no-net"
        if kind == "folder" and verb in ("fmt", "check", "check --fix")
        else "file/unreadable"
    )
    assert f"error[{wanted}]" in finished.err


# ------------------------------------------------------------------------------- files of one's own


def test_nobody_can_foretell_the_file_that_is_written_first(
    run: Run, project: Path, monkeypatch
) -> None:
    """Links under names that earlier versions used are not followed."""
    kept = project.parent / "kept"
    kept.write_text("mine")
    for name in ("tiny.net", "out.py"):
        Path(f".{name}.{os.getpid()}.tmp").symlink_to(kept)
    assert run("compile", "tiny.net", "--target", "numpy", "-o", "out.py").code == 0
    assert run("fmt", "tiny.net").code == 0
    assert kept.read_text() == "mine"
