"""`docs/course.md`, beyond what `test_docs.py` checks: its training commands run, its report is real."""

from __future__ import annotations

import os
import re
import shlex
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.runtime.plots.png import GAP, grid, save_png
from tests.conftest import ROOT, Run

PAGE = (ROOT / "docs/course.md").read_text("utf-8")
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
    if line.startswith("$ ")
]


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("networks", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def on_digits(command: str) -> bool:
    """Whether a command trains on data that need no download; the recipe of `threelayer.net` does
    not.
    """
    recipe = "threelayer.net" in command and "--no-recipe" not in command
    return command.startswith("netspec train") and "--data" not in command and not recipe


@pytest.mark.parametrize("command", [c for c in COMMANDS if on_digits(c)])
def test_it_trains(command: str, folder: Path, run: Run) -> None:
    finished = run(*shlex.split(command)[1:])
    assert finished.code == 0, finished.err
    accuracy = float(re.search(r"test accuracy ([\d.]+) %", finished.out)[1])
    assert accuracy > 60
    if "--epochs 15" in command:  # overfitting
        assert re.findall(r"train ([\d.]+)%", finished.err)[-1] == "100.00"


def test_the_gradients_agree(folder: Path, run: Run) -> None:
    (command,) = [c for c in COMMANDS if c.startswith("netspec gradcheck")]
    assert run(*shlex.split(command)[1:]).code == 0


def test_the_report_is_what_the_check_prints(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(compile(blocks("python")[0], "docs/course.md", "exec"), names)
    (shown,) = blocks("text report")
    assert capsys.readouterr().out == shown
    assert [c.name for c in names["report"].differing] == ["db"]


def test_the_nets_that_are_shown_are_files() -> None:
    edges = (ROOT / "docs/course/edges.net").read_text("utf-8")
    assert edges in blocks("net")


@pytest.mark.parametrize("path", sorted((ROOT / "docs/course").glob("*.net")), ids=str)
def test_the_files_are_sound_and_in_style(path: Path, run: Run) -> None:
    checked = run("check", path)
    assert (checked.code, checked.err) == (0, "")
    assert run("fmt", "--check", path).code == 0


@pytest.mark.heavy
def test_the_autograder_grades(tmp_path: Path) -> None:
    good = "net A {\n    input x: [1, 8, 8]\n    output x -> flatten -> linear(10)\n}\n"
    hidden = "    constant w: [400, 300] = constant(0)\n    y = x -> flatten -> linear(400)\n"
    hidden += "    output matmul(y -> reshape([1, 400]), w) -> reshape([300]) -> linear(10)\n"
    slow = "    for i in range(40) { x = x -> upsample(64) -> gelu -> avg_pool(64) }\n    output"
    texts = {
        "1_same": good.replace("x", "picture"),
        "2_large": good.replace("linear", "linear(2000) -> linear"),
        "3_wrong": good.replace("linear", "linaer"),
        "4_none": "",
        "5_hidden": good.replace("    output x -> flatten -> linear(10)\n", hidden),
        "6_slow": good.replace("    output", slow),
        "=7": good, "7": good, "-7": good.replace("linear(10)", "linear(20) -> linear(10)"),
        "8_nan": good,
    }  # fmt: skip
    handins = tmp_path / "handins"
    for name, text in texts.items():
        (handins / name).mkdir(parents=True)
        if text:
            (handins / name / "net.net").write_text(text)
    (handins / "4_none/net.net").symlink_to(handins / "1_same/net.net")
    (handins / "9_link").symlink_to(handins / "1_same")
    os.mkdir(os.fsencode(handins) + b"/caf\xe9")
    (tmp_path / "reference.net").write_text(good)
    digits = netspec.load_data("digits")
    net = netspec.loads(good)
    model = net.compile()
    history = netspec.fit(model, digits, epochs=12, progress=False)
    for name in ("=7", "7"):
        path = handins / name / "weights.safetensors"
        netspec.save_weights(path, model.state_dict(), history.normalization)
    broken = {name: array * np.float32("nan") for name, array in model.state_dict().items()}
    path = handins / "8_nan/weights.safetensors"
    netspec.save_weights(path, broken, history.normalization)
    os.utime(handins / "7/net.net", (2e9, 2e9))
    np.savez(tmp_path / "topsecret.npz", x_test=digits.x_test, y_test=digits.y_test)

    script = ROOT / "docs/course/grade.py"
    command = [sys.executable, str(script), "handins", "--reference", "reference.net"]
    command += ["--held-out", "topsecret.npz", "--tasks", "check,limits,same,weights"]
    command += ["--due", "2033-05-17"]  # a day before that file
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TZ": "UTC"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert (tmp_path / "grades/grades.csv").read_text("utf-8").splitlines() == [
        "hand-in,check,limits,same,weights,points,days late,look at",
        "'-7,3,2,0,0,5,0,", "1_same,3,2,2,0,7,0,", "2_large,3,0,0,0,3,0,", "3_wrong,0,0,0,0,0,0,",
        "4_none,0,0,0,0,0,0,", "5_hidden,3,0,0,0,3,0,", "6_slow,3,0,0,0,3,0,",
        "7,3,2,2,3,10,1,weights of =7", "8_nan,3,2,2,0,7,0,", "9_link,0,0,0,0,0,0,",
        "'=7,3,2,2,3,10,0,weights of 7", "caf\\udce9,0,0,0,0,0,0,",
    ]  # fmt: skip
    folder = os.fsencode(tmp_path / "grades")
    told = {
        name: Path(os.fsdecode(folder + b"/" + name)).read_text("utf-8")
        for name in os.listdir(folder)
        if name.endswith(b".txt")
    }
    assert len(told) == 12
    assert "require/assert" in told[b"2_large.txt"]
    assert "numbers = 149,010" in told[b"5_hidden.txt"]
    assert "flops = " in told[b"6_slow.txt"]
    assert "did you mean `linear`" in told[b"3_wrong.txt"]
    assert "'net.net' was not read" in told[b"4_none.txt"]
    assert "no such file" in told[b"1_same.txt"]
    assert "NaN or infinity" in told[b"8_nan.txt"]
    assert told[b"9_link.txt"] == "the hand-in is a link"
    assert "not the net that was asked for" in told[b"-7.txt"]
    assert not any("topsecret" in text or "reference" in text for text in told.values())


@pytest.mark.heavy
def test_the_autograder_goes_on_where_it_fails(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "handins" / name).mkdir(parents=True)
    net = "net A {\n    input x: [3]\n    output x -> linear(2)\n}\n"
    (tmp_path / "handins/b/net.net").write_text(net)
    (tmp_path / "handins/c.zip").write_bytes(b"PK")
    (tmp_path / "handins/.DS_Store").write_bytes(b"")
    long = "x" * 253  # with .txt behind it, it is no name of a file
    (tmp_path / "handins" / long).mkdir()
    for number in range(25):
        (tmp_path / "handins" / long / f"a{number}.png").write_bytes(b"")
    (tmp_path / "handins" / long / "net.net").write_text(net)
    text = (ROOT / "docs/course/grade.py").read_text("utf-8")
    broken = text.replace(
        "    left, latest = []", "    assert handin.name != 'a'\n    left, latest = []"
    )
    assert broken != text
    (tmp_path / "grade.py").write_text(broken)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "grade.py", "handins", "--tasks", "check"],
        cwd=tmp_path, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    lines = (tmp_path / "grades/grades.csv").read_text("utf-8").splitlines()
    assert lines[1:] == [
        "a,0,0,0,grade by hand", "b,3,3,0,", "c.zip,0,0,0,grade by hand", f"{long},3,3,0,",
    ]  # fmt: skip
    assert "AssertionError" in (tmp_path / "grades/a.txt").read_text("utf-8")
    assert "an archive is unpacked before" in (tmp_path / "grades/c.zip.txt").read_text("utf-8")
    done = subprocess.run(
        [sys.executable, "grade.py", "handins", "--tasks", "check,wieghts"],
        cwd=tmp_path, env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no tasks: wieghts" in done.stderr


@pytest.mark.parametrize(
    "code", ["sum(range(10**12))", "import os; os.abort()", "b' ' * (64 << 30)"]
)
def test_the_autograder_says_how_a_command_ended(code: str, tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "grade"}
    exec(compile((ROOT / "docs/course/grade.py").read_text("utf-8"), "grade.py", "exec"), names)
    names["PROCESSOR_SECONDS"] = 1
    (tmp_path / "netspec.py").write_text(code)
    done, _, said = names["netspec"](tmp_path)
    assert not done
    wanted = {"s": "took longer than 1 seconds of processor", "i": "ended by signal 6"}
    assert wanted.get(code[0], "MemoryError") in said


def test_the_filter_question(run: Run) -> None:
    for net, expected in (("Small", ("7", "110,592")), ("Large", ("7", "200,704"))):
        path = ROOT / "docs/course/filter_sizes.net"
        lines = run("summarize", path, "--net", net, "--columns", "name,params,field").out
        assert re.search(r"relu\d +(\d+)\n-", lines)[1] == expected[0]
        assert f"{expected[1]} trained" in lines


# ------------------------------------------------------------------------------------------- pictures


def read_png(path: Path) -> np.ndarray:
    """The pixels of a PNG that `save_png` wrote."""
    data, chunks, at = path.read_bytes(), {}, 8
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        chunks[kind] = data[at + 8 : at + 8 + size]
        checksum = struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0]
        assert checksum == zlib.crc32(kind + chunks[kind])
        at += 12 + size
    width, height, depth, color = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, color) == (8, 2)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 3)


def test_a_picture_is_written_whole(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    save_png(tmp_path / "a.png", picture, scale=3)
    read = read_png(tmp_path / "a.png")
    assert (read[::3, ::3] == picture).all()
    assert read.shape == (15, 21, 3)


@pytest.mark.parametrize("shape", [(1, 4, 5), (4, 5), (3, 4, 5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_picture_of_a_data_set_is_saved_as_it_is(
    shape: tuple[int, ...], dtype: type, tmp_path: Path
) -> None:
    picture = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    save_png(tmp_path / "a.png", picture)
    found = read_png(tmp_path / "a.png")
    assert found.shape == (4, 5, 3)
    first = picture.reshape(-1, 4, 5)[0]
    assert (np.argsort(found[..., 0].ravel()) == np.argsort(first.ravel())).all()


def test_several_pictures_are_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`grid` arranges several"):
        save_png(tmp_path / "a.png", np.zeros((2, 1, 4, 5)))


def test_a_grid_of_filters() -> None:
    filters = np.random.default_rng(0).standard_normal((5, 3, 4, 4))
    picture = grid(filters)
    assert picture.shape == (2 * 5 - 1, 3 * 5 - 1, 3)
    assert picture[:4, :4].min() == 0
    assert picture[:4, :4].max() == 255
    assert (picture[5:, 10:] == GAP).all()  # the sixth place is empty
    first = filters[0]
    brightest = np.unravel_index(first.argmax(), first.shape)
    assert picture[brightest[1], brightest[2], brightest[0]] == 255


def test_a_grid_of_grey_pictures() -> None:
    values = np.arange(2 * 2 * 3 * 3, dtype=float).reshape(2, 2, 3, 3)
    picture = grid(values, columns=4, gap=0)
    assert picture.shape == (3, 12, 3)
    assert (picture[..., 0] == picture[..., 2]).all()
    assert not grid(np.ones((1, 1, 2, 2))).any()  # nothing to stretch


PICTURES = {
    "filters": (np.ones((5, 3, 4, 4)), 5), "grey filters": (np.ones((5, 2, 4, 4)), 10),
    "feature maps": (np.ones((3, 4, 4)), 3), "one": (np.eye(4), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_shown_and_saved(name: str, tmp_path: Path) -> None:
    given, count = PICTURES[name]
    found = netspec.pictures(given, columns=2)
    assert repr(found).startswith(f"<netspec.Pictures: {count}, ")
    found.save(tmp_path / "a.png", scale=3)
    read = read_png(tmp_path / "a.png")
    assert (read[::3, ::3] == found.array).all()
    assert found._repr_png_().startswith(b"\x89PNG")
    assert f'alt="netspec.Pictures: {count}, ' in found._repr_html_()
    named = netspec.pictures(given, captions=[f"<{i}>" for i in range(count)])._repr_html_()
    assert re.findall(r"<figcaption[^>]*>([^<]*)", named) == [f"&lt;{i}&gt;" for i in range(count)]
    assert named.count('alt="&lt;') == count
    with pytest.raises(netspec.NetspecError, match=f"{count} pictures and {count + 1} captions"):
        netspec.pictures(given, captions=range(count + 1))


@pytest.mark.parametrize("given", [np.ones(3), np.full((2, 2), np.nan), np.ones((0, 3, 4, 4))])
def test_what_is_no_picture_is_refused(given: np.ndarray) -> None:
    with pytest.raises(netspec.NetspecError, match="plot/pictures"):
        netspec.pictures(given)


@pytest.mark.parametrize("shape", [(3, 4, 4), (0, 3, 4, 4)])
def test_a_grid_needs_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="N, C, H, W"):
        grid(np.zeros(shape))
