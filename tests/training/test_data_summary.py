"""`netspec data info`: what there is in a data set, and what looks wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.runtime.data.summary import load_to_look, summarize
from tests.helpers.mixed_pictures import make_mixed

RNG = np.random.default_rng(0)


def odd(x: np.ndarray, y: np.ndarray, val: float = 0, test: int = 0) -> str:
    """Return what is said of a data set whose last samples are of test."""
    cut = len(x) - test
    classes = int(np.max(y)) + 1
    data = netspec.Dataset("it", x[:cut], y[:cut], x[cut:], y[cut:], classes)
    return "\n".join(summarize(data, val).odd)


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape).astype(np.uint8)


def test_nothing_is_said_of_sound_data():
    assert odd(pixels(60, 3, 8, 8), RNG.permutation(60) % 3, val=10, test=9) == ""


def test_what_looks_wrong_is_said():
    x, y = pixels(60, 3, 8, 8), RNG.permutation(60) % 3
    assert "labels start at 0" in odd(x, y + 1)
    assert "sorted by class" in odd(x, np.sort(y), val=10)
    assert "sorted by class" not in odd(x, np.sort(y), val=0.2)
    assert "the channels look last" in odd(pixels(60, 8, 8, 3), y)
    assert "one-hot rows" in odd(x, np.eye(3, dtype=int)[y])
    assert "one-hot rows" in odd(x, np.eye(3)[y])
    assert "40 training samples are of class 0 and 1 of 1" in odd(x[:41], np.arange(41) // 40)
    assert "floats beyond 10" in odd(x.astype(np.float32), y)


def test_samples_that_are_there_twice_are_counted():
    x, y = pixels(30, 1, 4, 4), np.arange(30) % 3
    x[25:27] = x[4:6]
    said = odd(x, y, test=6)
    assert "2 of 6 test samples are training samples too" in said
    assert "test sample 1, which is training sample 4" in said
    x[10], x[13] = x[7], x[8]
    y[10] = y[7]
    said = odd(x, y, test=6)
    assert "1 training samples are there more than once" in said
    assert "1 training samples are there with another label too" in said
    assert "training sample 13, which is training sample 8" in said


def test_pictures_of_any_size_are_looked_through(tmp_path: Path, run, monkeypatch):
    pytest.importorskip("PIL")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    make_mixed(Path("a/train"), 30)
    twin = next(Path("a/train/c1").iterdir())
    other = Path("a/test/c1") / twin.name
    other.parent.mkdir(parents=True)
    other.write_bytes(twin.read_bytes())
    done = run("data", "info", "a")
    assert done.code == 0, done.err
    assert "a: 30 training, 1 test samples" in done.out
    assert " pixels (median " in done.out
    assert "1 of 1 test samples are training samples too" in done.out
    assert str(other.name) in done.out
    found = json.loads(run("data", "info", "a", "--format", "json").out)
    assert found["classes"] == {"c0": [10, 0], "c1": [10, 1], "c2": [10, 0]}
    assert run("data", "pack", "a", "-o", "s").code == 0
    of_shards = summarize(load_to_look("s/train-000000.tar"))
    assert of_shards.to_dict()["shapes"] == found["shapes"]
    pytest.importorskip("matplotlib")
    assert run("data", "info", "a", "--picture", "a.png").code == 0
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")


def test_a_text_has_no_classes(tmp_path: Path, run):
    Path(tmp_path / "a.txt").write_text("to be or not to be " * 40)
    done = run("data", "info", tmp_path / "a.txt")
    assert done.code == 0, done.err
    assert done.out == "a: 10 training, 1 test samples\n[64], int32 from 0 to 6\n"
