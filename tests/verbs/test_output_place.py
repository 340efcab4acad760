"""No verb writes over what it reads, nor over a file that netspec did not make."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run

NET = """\
from "lib/blocks.net" import Head

net Tiny {
    input image: [1, 8, 8]

    output image -> flatten -> Head
}
"""
BLOCKS = """\
block Head x {
    return x -> linear(10)
}
"""
RECIPE = "epochs = 1\n"

# Every verb that writes a file, without the file name.
WRITERS = {
    "numpy": "compile tiny.net --target numpy -o",
    "torch": "compile tiny.net --target torch -o",
    "standalone": "compile tiny.net --target numpy --standalone -o",
    "inference": "compile tiny.net --target numpy --inference -o",
    "plan": "compile tiny.net --target numpy --explain-plan -o",
    "weights": "train numpy tiny.net --train-limit 64 --quiet --out",
    "curves": "plot run -o",
    "filters": "plot --filters filters.safetensors -o",
    "doctor": "doctor tiny.net --plot",
}
NAMES = {"weights": "out.safetensors", "curves": "out.svg", "filters": "out.png", "doctor": "o.png"}
SOURCES = ("tiny.net", "lib/blocks.net", "tiny.toml")
PICTURES = ("curves", "filters", "doctor")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("lib").mkdir()
    Path("tiny.net").write_text(NET)
    Path("lib/blocks.net").write_text(BLOCKS)
    Path("tiny.toml").write_text(RECIPE)
    return tmp_path


def needs(writer: str, run: Run) -> list[str]:
    """Return the command of a writer, after making what it reads."""
    if writer in PICTURES:
        pytest.importorskip("matplotlib")
    if writer == "curves":
        made = run("train", "numpy", "tiny.net", "--train-limit", 64, "--quiet", "--out", "run")
        assert made.code == 0, made.err
    if writer == "filters":
        from netspec.runtime.weights.safetensors_file import save_weights

        save_weights("filters.safetensors", {"conv.weight": np.ones((2, 1, 3, 3), np.float32)})
    return WRITERS[writer].split()


@pytest.mark.parametrize("writer", WRITERS)
def test_what_netspec_made_is_made_again_and_other_files_stay(run: Run, writer: str) -> None:
    command, out = needs(writer, run), Path(NAMES.get(writer, "out.py"))
    for _ in range(2):
        finished = run(*command, out)
        assert "error" not in finished.err
    ours = out.read_bytes()
    for foreign in (b"x = 1\n", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, bytes(10), b"\xff" * 9000):
        out.write_bytes(foreign)
        finished = run(*command, out)
        assert finished.code == 1
        assert "error[output/not-generated]" in finished.err
        assert out.read_bytes() == foreign
    run(*command, out, "--force")
    assert out.read_bytes()[:8] == ours[:8]
    out.write_bytes(b"")
    run(*command, out)  # an empty file holds nothing that could be lost: `mktemp` makes them
    assert out.read_bytes()[:8] == ours[:8]


def by_name(source: Path) -> Path:
    return source


def by_another_spelling(source: Path) -> Path:
    return (
        Path("lib/..").resolve() / source.parent / ".." / source.parent.resolve().name / source.name
    )


def by_link(source: Path) -> Path:
    Path("link").symlink_to(source)
    return Path("link")


def by_second_name(source: Path) -> Path:
    os.link(source, "second")
    return Path("second")


@pytest.mark.parametrize("way", [by_name, by_another_spelling, by_link, by_second_name])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("writer", [w for w in WRITERS if w not in PICTURES])
def test_no_source_is_written_over(
    run: Run, writer: str, source: str, way: Callable[[Path], Path]
) -> None:
    out = way(Path(source))
    if writer == "weights":  # whose file must have the right ending
        link = Path("out.safetensors")
        link.symlink_to(out)
        out = link
    before = {name: Path(name).read_bytes() for name in SOURCES}
    for force in ((), ("--force",)):
        finished = run(*WRITERS[writer].split(), out, *force)
        assert finished.code == 1
        assert "error[output/is-source]" in finished.err
        assert {name: Path(name).read_bytes() for name in SOURCES} == before


def test_a_named_recipe_weights_and_data_are_sources_too(run: Run) -> None:
    Path("other.toml").write_text(RECIPE)
    command = WRITERS["weights"].split()
    assert run(*command, "start.safetensors").code == 0
    again = run(*command, "start.safetensors", "--weights", "start.safetensors")
    assert "output/is-source" in again.err
    Path("link.safetensors").symlink_to("other.toml")
    named = run(*command, "link.safetensors", "--recipe", "other.toml")
    assert "output/is-source" in named.err
    for name in ("x_train", "x_test"):
        np.save(f"lib/{name}.npy", np.ones((8, 1, 8, 8), np.float32))
        np.save(f"lib/{name.replace('x', 'y')}.npy", np.arange(8) % 10)
    inside = run(*command, "lib/w.safetensors", "--data", "lib")
    assert "output/is-source" in inside.err
    assert Path("other.toml").read_text() == RECIPE


@pytest.mark.parametrize("source", ["tiny.net", "lib/blocks.net"])
@pytest.mark.parametrize("writer", [*PICTURES, "weights"])
def test_pictures_and_weights_end_as_they_must(run: Run, writer: str, source: str) -> None:
    """The ending alone prevents writing over a net. No folder is made in its place either."""
    before = Path(source).read_bytes()
    finished = run(*needs(writer, run), source)
    assert finished.code in (1, 2)
    assert Path(source).read_bytes() == before


# ------------------------------------------------------------------------- what is written, and where


def targets() -> list[str]:
    return [name for name in WRITERS if WRITERS[name].startswith("compile")]


@pytest.mark.parametrize("writer", targets())
def test_a_program_does_not_depend_on_where_and_how_its_net_was_named(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    verb, _, *options = WRITERS[writer].split()[:-1]
    made = {
        run(verb, name, *options).out for name in ("tiny.net", "./tiny.net", project / "tiny.net")
    }
    monkeypatch.chdir("lib")
    made.add(run(verb, "../tiny.net", *options).out)
    monkeypatch.chdir("/")
    made.add(run(verb, project / "lib/../tiny.net", *options).out)
    text = project / "tiny.net"
    text.write_bytes(text.read_bytes().replace(b"\n", b"\r\n"))
    made.add(run(verb, text, *options).out)
    (only,) = made
    assert str(project) not in only


@pytest.mark.parametrize("writer", targets())
def test_check_knows_its_own_files_from_everywhere(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    verb, _, *options = WRITERS[writer].split()[:-1]
    assert run(verb, "tiny.net", *options, "-o", "out.py").code == 0
    monkeypatch.chdir("lib")
    assert run(verb, "../tiny.net", *options, "-o", "../out.py", "--check").code == 0
    out = project / "out.py"
    out.write_text(out.read_text().replace("10", "11", 1))
    stale = run(verb, "../tiny.net", *options, "-o", out, "--check")
    assert stale.code == 1
    assert "\n-" in stale.out
    assert "\n+" in stale.out


def test_the_hash_of_the_sources_is_of_imports_of_imports_too(run: Run) -> None:
    Path("lib/blocks.net").write_text(
        'from "deep.net" import Deep\nblock Head x { return x -> Deep }\n'
    )
    heads = set()
    for comment in ("# one", "# two"):
        Path("lib/deep.net").write_text(f"{comment}\n{BLOCKS.replace('Head', 'Deep')}")
        heads.add(run("compile", "tiny.net", "--target", "torch").out.splitlines()[1])
    assert len(heads) == 2


@pytest.mark.parametrize(("target", "end"), [("torch", "py"), ("numpy", "py"), ("c", "c")])
def test_check_reads_no_more_than_there_may_be(
    run: Run, tmp_path: Path, target: str, end: str
) -> None:
    """A gigabyte that takes no room on the disk would take that in memory, and its difference more."""
    (tmp_path / "a.net").write_text("net A() { input x: [4]\n output x -> linear(2) }\n")
    out = tmp_path / f"out.{end}"
    command = ("compile", tmp_path / "a.net", "--target", target, "-o", out)
    assert run(*command).code == 0
    assert run(*command, "--check").code == 0
    with out.open("ab") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    try:
        finished = run(*command, "--check")
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
    assert finished.code == 1
    assert "is out of date" in finished.err
    assert len(finished.out) < 1000
