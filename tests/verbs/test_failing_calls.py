"""Whichever system call fails, either the old or the new file is there, and the failure is
reported.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from netspec.cli import main
from tests.conftest import Run
from tests.helpers.failing_calls import failing

NET = """net Tiny() {
    input image: [1, 8, 8]
    output image -> conv(2, 3) -> relu -> flatten -> linear(10)
}
"""
CROOKED = NET.replace("    output", "  output")
WRONG = NET.replace("relu", "relux")
TRAIN = "train numpy tiny.net --train-limit 64 --epochs 1 --quiet --no-recipe --data digits"


@dataclass(frozen=True)
class Writer:
    """A command line that writes, what exists before it, and the files that it writes."""

    command: str
    written: tuple[str, ...]
    before: str = "old"  # `old` results, the file itself, or `nothing`


WRITERS = {
    "numpy": Writer("compile tiny.net --target numpy -o out.py", ("out.py",)),
    "standalone": Writer("compile tiny.net --target numpy --standalone -o out.py", ("out.py",)),
    "torch": Writer("compile tiny.net --target torch -o out.py", ("out.py",)),
    "c": Writer(
        "compile tiny.net --target c --train --header --example -o out.c",
        ("out.c", "out.h", "out_main.c"),
    ),
    "onnx": Writer("compile tiny.net --target onnx -o out.onnx", ("out.onnx",)),
    "picture": Writer("draw tiny.net -o out.svg", ("out.svg",)),
    "page": Writer("draw tiny.net -o out.html", ("out.html",)),
    "import": Writer(
        "import onnx tiny.onnx -o out.net --weights-out w.safetensors", ("out.net", "w.safetensors")
    ),
    "import torch": Writer(
        "import torch tiny.py:Tiny --input x=1,8,8 -o out.net --weights-out w.safetensors",
        ("out.net", "w.safetensors"),
    ),
    "fmt": Writer("fmt crooked.net", ("crooked.net",), "source"),
    "shapes": Writer("fmt --shapes crooked.net", ("crooked.net",), "source"),
    "fix": Writer("check --fix wrong.net", ("wrong.net",), "source"),
    "new": Writer("new threelayer", ("threelayer.net", "threelayer.toml"), "nothing"),
    "weights": Writer(f"{TRAIN} --out w.safetensors", ("w.safetensors",)),
    "run": Writer(f"{TRAIN} --checkpoint-every 1 --batch 32 --out again", (), "nothing"),
    "curves": Writer("plot run -o out.svg", ("out.svg",)),
    "filters": Writer("plot --filters run -o out.png", ("out.png",)),
    "doctor": Writer("doctor tiny.net --plot out.png", ("out.png",)),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the command lines read, made once."""
    folder = tmp_path_factory.mktemp("made")
    for name, text in (("tiny", NET), ("crooked", CROOKED), ("wrong", WRONG)):
        (folder / f"{name}.net").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*TRAIN.split(), "--out", "run"]) == 0
        assert main("compile tiny.net --target torch -o tiny.py".split()) == 0
        if importlib.util.find_spec("onnx") is not None:
            assert main("compile tiny.net --target onnx -o tiny.onnx".split()) == 0
    return folder


def places(made: Path, folder: Path, writer: Writer) -> Iterator[Path]:
    """Yield folders to run a command line in, each in its first state."""
    number = 0
    while True:
        place = folder / str(number)
        shutil.copytree(made, place)
        if writer.before == "old":
            for name in writer.written:
                (place / name).write_bytes(b"")  # empty, and anybody's: it may be replaced
        yield place
        shutil.rmtree(place)
        number += 1


def held(place: Path, writer: Writer) -> dict[str, bytes | None]:
    """Return the contents of the files that it writes; None for one that does not exist."""
    paths = {name: place / name for name in writer.written}
    return {n: path.read_bytes() if path.exists() else None for n, path in paths.items()}


def check_each_call(
    run: Run, made: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, every: int
) -> int:
    """Let calls of a command line fail, one at a time. Return how many there are."""
    writer = WRITERS[name]
    each = places(made, folder, writer)
    place = next(each)
    monkeypatch.chdir(place)
    assert run(*writer.command.split()).code == 0  # so that late imports are done
    place = next(each)
    monkeypatch.chdir(place)
    old = held(place, writer)
    with failing(place) as calls:
        assert run(*writer.command.split()).code == 0
    new = held(place, writer)
    for number in range(every // 2, len(calls.made), every):
        place = next(each)
        monkeypatch.chdir(place)
        with failing(place, number) as failed:
            finished = run(*writer.command.split())
        if number >= len(failed.made):
            continue  # it took fewer calls this time
        about = f"{name}, call {number}: {failed.made[number]}\n{finished.err}"
        assert finished.code in (0, 1), about
        assert "Traceback" not in finished.err, about
        after = held(place, writer)
        for file, content in after.items():
            if finished.code == 0:
                assert content == new[file], about
            assert content in (old[file], new[file]), about
        if name == "new":
            assert after in (old, new), about
        if not failed.made[number].startswith(("unlink", "rmdir", "close")):
            left = [p for p in place.rglob("*") if p.name.endswith(".part")]
            assert not left, about
        if finished.code:
            assert "error" in finished.err, about
        if name == "run":
            check_run(run, place, about)
    monkeypatch.chdir(folder)
    return len(calls.made)


def check_run(run: Run, place: Path, about: str) -> None:
    """Check that a run after a failure is complete, or does not exist."""
    if (place / "again").exists():
        resumed = run("train", "--resume", "again")
        assert resumed.code == 0, f"{about}\n{resumed.err}"
        assert (place / "again/weights.safetensors").is_file()
    else:
        begun = run(*WRITERS["run"].command.split())
        assert begun.code == 0, f"{about}\n{begun.err}"


# Every call fails once for the quick ones, and for all of them where time does not matter.
QUICK = ("numpy", "c", "picture", "fmt", "fix", "new")
LIBRARIES = {"curves": "matplotlib", "doctor": "matplotlib", "onnx": "onnx", "import": "onnx",
             "import torch": "torch"}  # fmt: skip
CASES = [
    *((name, 1 if name in QUICK else 9) for name in WRITERS),
    *(pytest.param(name, 1, marks=pytest.mark.heavy) for name in WRITERS if name not in QUICK),
]


@pytest.mark.parametrize(("name", "every"), CASES)
def test_a_call_that_fails_leaves_the_old_file_or_the_new(
    run: Run, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, every: int
) -> None:
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name])
    if name == "import":
        pytest.importorskip("onnxruntime")
    assert check_each_call(run, made, tmp_path, monkeypatch, name, every) >= 5


@pytest.mark.parametrize("name", ["numpy", "c", "picture", "fmt", "shapes", "fix", "weights"])
def test_a_file_is_on_disk_before_it_takes_the_place_of_another(
    run: Run, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place = next(places(made, tmp_path, WRITERS[name]))
    monkeypatch.chdir(place)
    with failing(place) as calls:
        assert run(*WRITERS[name].command.split()).code == 0
    kinds = [call.split()[0] for call in calls.made]
    replaced = [at for at, kind in enumerate(kinds) if kind == "replace"]
    assert len(replaced) == len(WRITERS[name].written)
    for before, at in zip([0, *replaced], replaced, strict=False):
        assert "fsync" in kinds[before:at]
