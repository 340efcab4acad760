"""Every verb that writes, with every kind of path: only regular files are replaced.

The test makes all special files itself, in its own folder.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run

NET = "net Tiny() { input image: [1, 8, 8]\n  output image -> flatten -> linear(10) }\n"
MENDED = (
    "net tiny() {\n    input image: [1, 8, 8]\n\n    output image -> flatten -> linear(10)\n}\n"
)

# Every verb that writes a file of a given name, without that name, and the ending of the name.
WRITERS = {
    "numpy": ("compile tiny.net --target numpy -o", ".py"),
    "torch": ("compile tiny.net --target torch -o", ".py"),
    "weights": ("train numpy tiny.net --train-limit 64 --epochs 1 --quiet --out", ".safetensors"),
    "picture": ("draw tiny.net -o", ".svg"),
    "curves": ("plot run -o", ".svg"),
    "filters": ("plot --filters filters.safetensors -o", ".png"),
    "doctor": ("doctor tiny.net --plot", ".png"),
}
# The verbs that rewrite what they read.
REWRITERS = {"fmt": ("fmt", NET), "fix": ("check --strict --fix", MENDED)}


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


KINDS = [
    regular, missing, long_name, outside, link, link_outside, dangling_link, link_to_itself,
    link_into_nothing, a_folder, in_a_missing_folder, a_socket, read_only, in_a_read_only_folder,
]  # fmt: skip


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


def command_of(writer: str, made_run: Path) -> list[str]:
    """Return the command of a writer, after making what it reads."""
    if writer in ("curves", "doctor"):
        pytest.importorskip("matplotlib")
    if writer == "curves":
        shutil.copytree(made_run, "run")
    if writer == "filters":
        from netspec.runtime.weights.safetensors_file import save_weights

        save_weights("filters.safetensors", {"conv.weight": np.ones((2, 1, 3, 3), np.float32)})
    return WRITERS[writer][0].split()


def names_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_written_is_the_file_that_was_meant(
    run: Run, project: Path, made_run: Path, writer: str, kind: Callable[[Path, str], Place]
) -> None:
    command = command_of(writer, made_run)
    place = kind(project, WRITERS[writer][1])
    what = place.name.lstat().st_mode if os.path.lexists(place.name) else stat.S_IFREG
    before = names_below(project.parent)
    finished = run(*command, place.name)
    if place.written is None:
        assert finished.code == 1
        assert "error[output/unwritable]: cannot write" in finished.err
        assert names_below(project.parent) == before
    else:
        assert "error" not in finished.err
        assert place.written.stat().st_size > 0
        new = {str(place.written.resolve().relative_to(project.parent.resolve()))}
        assert names_below(project.parent) == before | new
    if os.path.lexists(place.name):
        assert stat.S_IFMT(place.name.lstat().st_mode) == stat.S_IFMT(what)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_fifo_gets_what_a_file_would_hold(
    run: Run, project: Path, made_run: Path, writer: str
) -> None:
    command, end = command_of(writer, made_run), WRITERS[writer][1]
    fifo, got = project / f"out{end}", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()), daemon=True)
    reader.start()
    finished = run(*command, fifo)
    assert "error" not in finished.err
    reader.join(20)
    run(*command, f"file{end}")
    assert [each[:200] for each in got] == [Path(f"file{end}").read_bytes()[:200]]
    assert fifo.is_fifo()


@pytest.mark.parametrize("writer", WRITERS)
def test_a_device_is_written_to_and_stays(
    run: Run, project: Path, made_run: Path, writer: str
) -> None:
    command = command_of(writer, made_run)
    device = project / f"out{WRITERS[writer][1]}"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # a null device of our own
        device.write_bytes(b"")
    except OSError:
        pytest.skip("devices can be made by root alone")
    finished = run(*command, device)
    assert "error" not in finished.err
    assert device.is_char_device()


@pytest.mark.parametrize("writer", ["numpy", "torch"])
@pytest.mark.parametrize("name", [".", "", "..", "/"])
def test_a_program_is_no_folder(run: Run, project: Path, writer: str, name: str) -> None:
    before = names_below(project.parent)
    finished = run(*WRITERS[writer][0].split(), name)
    assert finished.code == 1
    assert "error[output/unwritable]" in finished.err
    assert "it is a folder" in finished.err
    assert names_below(project.parent) == before


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
