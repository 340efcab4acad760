"""Comments and names of files and runs may come from anywhere, and send no commands to a terminal."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import netspec
from netspec.cli import VERBS
from netspec.runtime.weights.safetensors_file import save_weights
from netspec.text.printable import printable, printable_lines
from tests.conftest import Run

ODD = "o\x1b]0;title\x07d\x1b[2J\x9b31m\u202ed"
NET = """\
# \x1b[31mA doc comment\x1b]0;title\x07 with commands.
net Odd() {
    input image: [64]

    output image -> linear(10)
}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(ODD).mkdir()
    Path(f"{ODD}/a.net").write_text(NET, "utf-8")
    Path(f"{ODD}/b.net").write_text(NET.replace("10", "-> 10"), "utf-8")
    Path(f"{ODD}/d.net").write_text(NET.replace("    output", "  output"), "utf-8")
    Path(f"{ODD}/c.net").write_text(NET.replace("10", "12"), "utf-8")
    Path(f"{ODD}/raises.py").write_text(f"raise ValueError({ODD!r})\n", "utf-8")
    name = ODD.encode("unicode_escape").decode()
    Path(f"{ODD}/recipe.toml").write_text(f'"{name}" = 1\n', "utf-8")
    Path(f"{ODD}/sweep.toml").write_text(
        f'freeze = [["{name}"], ["b*"]]\nepochs = 1\n[sweep]\nnet = "a.net"\n', "utf-8"
    )
    for name in (ODD, "w2"):
        save_weights(f"{ODD}/{name}.safetensors", {f"{name}.weight": np.ones(3, "f4")})


COMMANDS = {
    "check": ("check", ODD),
    "fix": ("check", "--fix", ODD),
    "summarize": ("summarize", f"{ODD}/a.net"),
    "diff": ("diff", f"{ODD}/a.net", f"{ODD}/c.net"),
    "fmt": ("fmt", f"{ODD}/a.net", f"{ODD}/b.net"),
    "stale": ("compile", f"{ODD}/a.net", "--target", "torch", "-o", f"{ODD}/x.py", "--check"),
    "absent": ("summarize", f"{ODD}/absent.net"),
    "train": ("train", "numpy", f"{ODD}/a.net", "--train-limit", 64, "--epochs", 1, "--out", ODD * 2),
    "runs": ("runs", "--compare", ODD * 2, ODD * 3),
    "resume": ("train", "--resume", ODD * 2, "--epochs", 2),
    "plot": ("plot", ODD * 2, "-o", f"{ODD}/x.png"),
    "doctor": ("doctor", f"{ODD}/a.net"),
    "predict": ("predict", f"{ODD}/a.net", f"{ODD}/w.safetensors", f"{ODD}/x.npy"),
    "eval": ("eval", f"{ODD}/absent"),
    "shapes": ("fmt", "--shapes", f"{ODD}/d.net", f"{ODD}/b.net"),
    "draw": ("draw", f"{ODD}/b.net", "-o", f"{ODD}/x.svg"),
    "draw elsewhere": ("draw", f"{ODD}/a.net", "-o", f"{ODD}/{ODD}/x.svg"),
    "c": ("compile", f"{ODD}/a.net", "--target", "c", "--header", "-o", f"{ODD}/{ODD}.c"),
    "onnx": ("compile", f"{ODD}/a.net", "--target", "onnx", "-o", f"{ODD}/{ODD}/x.onnx"),
    "import onnx": ("import", "onnx", f"{ODD}/a.net"),
    "import torch": ("import", "torch", f"{ODD}/absent.py:{ODD}", "--input", "x=3"),
    "import a size": ("import", "onnx", f"{ODD}/a.net", "--input", f"{ODD}=3"),
    "weights": ("weights", f"{ODD}/a.net", f"{ODD}/c.net"),
    "generate": ("generate", f"{ODD}/absent"),
    "tokens": ("train", f"{ODD}/a.net", "--data", f"{ODD}/a.net", "--tokens", f"{ODD}/c.json"),
    "test-op": ("test-op", f"{ODD}/absent.py"),
    "new": ("new", ODD),
    "data info": ("data", "info", f"{ODD}/absent.npz"),
    "data pack": ("data", "pack", f"{ODD}/absent", "-o", f"{ODD}/x"),
    "verify": ("verify", f"{ODD}/b.net"),
    "gradcheck": ("gradcheck", f"{ODD}/a.net", "--from", ODD),
    "bench": ("bench", f"{ODD}/b.net"),
    "explain": ("explain", ODD),
    "watch": ("watch", f"{ODD}/a.net"),
    "watch what is wrong": ("watch", f"{ODD}/b.net", "--depth", 1),
    "list of weights": ("weights", f"{ODD}/{ODD}.safetensors"),
    "other weights": ("weights", f"{ODD}/{ODD}.safetensors", f"{ODD}/w2.safetensors"),
    "for github": ("check", ODD, "--format", "github"),
    "for junit": ("check", ODD, "--format", "junit"),
    "for sarif": ("check", ODD, "--format", "sarif"),
    "for json": ("check", ODD, "--format", "json"),
    "ops": ("check", "--ops", f"{ODD}/raises.py", f"{ODD}/a.net"),
    "a test of ops": ("test-op", f"{ODD}/raises.py"),
    "import what raises": ("import", "torch", f"{ODD}/raises.py:Net", "--input", "x=3"),
    "recipe": ("train", f"{ODD}/a.net", "--recipe", f"{ODD}/recipe.toml"),
    "a wrong sweep": ("sweep", f"{ODD}/recipe.toml"),
    "sweep": ("sweep", f"{ODD}/sweep.toml", "--out", ODD * 2),
    "verb": (ODD,),
    "option": ("check", f"--{ODD}", f"{ODD}/a.net"),
    "choice": ("check", f"{ODD}/a.net", "--format", ODD),
    "number": ("train", f"{ODD}/a.net", "--epochs", ODD),
    "list": ("train", f"{ODD}/a.net", "--mean", ODD),
    "too many": ("explain", "shape/rank", ODD, ODD),
    "ambiguous": ("fmt", f"--check={ODD}", f"{ODD}/a.net"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_that_a_terminal_acts_on_is_printed(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.startswith("watch"):
        monkeypatch.setattr(
            "netspec.cli.watch.time.sleep", mock.Mock(side_effect=KeyboardInterrupt)
        )
    if name == "plot":
        pytest.importorskip("matplotlib")
    if name in ("runs", "resume", "plot"):
        assert run(*COMMANDS["train"]).code == 0
        shutil.copytree(ODD * 2, ODD * 3)
    if name == "predict":
        np.save(f"{ODD}/x.npy", np.ones((1, 64), np.float32))
    finished = run(*COMMANDS[name])
    shown = finished.out + finished.err
    assert shown
    assert "internal error" not in shown
    assert [c for c in shown if not c.isprintable() and c not in "\n\t"] == []


def test_every_verb_that_prints_is_among_them() -> None:
    assert {command[0] for command in COMMANDS.values()} >= VERBS.keys() - {"lsp"}


def test_what_python_shows_of_a_data_set_and_an_evaluation_has_no_commands() -> None:
    x, y = np.ones((4, 64), np.float32), np.arange(4) % 2
    data = netspec.Dataset(ODD, x, y, x, y, 2, class_names=(ODD, "b"))
    net = netspec.load(f"{ODD}/a.net")
    model = netspec.loads("net Two { input x: [64]\n output x -> linear(2) }").compile("numpy")
    shown = [
        repr(data), str(model.evaluate(data, normalize="none")), str(net), repr(net), str(net.summary()),
        str(netspec.check(f"{ODD}/b.net")),
    ]  # fmt: skip
    assert [c for text in shown for c in text if not c.isprintable() and c != "\n"] == []


def test_a_text_keeps_every_character_unless_a_terminal_shows_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    diff = run("fmt", "--diff", f"{ODD}/d.net").out
    assert "\x1b[31mA doc comment" in diff
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    shown = run("fmt", "--diff", f"{ODD}/d.net").out
    assert shown == printable_lines(diff)
    assert "\\x1b[31mA doc comment" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\tb", "a    b"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b\u202e\ud800", "\\x9b\\u202e\\ud800"),
        ("größe 图", "größe 图"),
        ("a\nb\rc", "a\\nb\\rc"),
    ],
)
def test_a_line_is_shown_with_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_stay_lines() -> None:
    assert printable_lines("a\tb\r\nc\rd\n\x1b[0m") == "a\tb\r\nc\\rd\n\\x1b[0m"
