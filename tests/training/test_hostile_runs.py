"""Untrusted checkpoints and weights give an ordinary error, and no code is run."""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from netspec.runtime.runs.checkpoint import (
    LAST,
    Checkpoint,
    checkpoint_bytes,
    load_checkpoint,
)
from netspec.runtime.weights.weights_file import load_weights
from tests.conftest import Run
from tests.helpers.errors import fails
from tests.helpers.killing import NET, SHORT, make_halfway


@pytest.fixture(autouse=True)
def few_threads(monkeypatch):
    from netspec.runtime.engine import threads

    monkeypatch.setattr(threads, "limit", lambda count: None)


@pytest.fixture
def halfway(run: Run, tmp_path, monkeypatch) -> Path:
    return make_halfway(run, tmp_path, monkeypatch)


class Hostile:
    def __reduce__(self):
        return (os.system, ("touch hostile-code-ran",))


def raw(header: object, length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


def sparse(path: Path) -> None:
    """Make a sparse file that claims 2^40 numbers, and has that length."""
    size = 1 << 42
    entry = {"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    path.write_bytes(raw(entry))
    os.truncate(path, path.stat().st_size + size)


BAD = {
    "pickle": pickle.dumps(Hostile()) + bytes(64),
    "header of 2^60": raw({}, 1 << 60),
    "tensor of 2^60": raw({"a": {"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 4]}}),
    "nothing": raw({}),
    "another program's": raw({"__metadata__": {"format": "pt"}}),
    "no json": raw({"__metadata__": {"netspec-checkpoint": "{"}}),
    "nested": raw({"__metadata__": {"netspec-checkpoint": "[" * 50_000}}),
    "a list": raw({"__metadata__": {"netspec-checkpoint": "[]"}}),
    "another format": raw({"__metadata__": {"netspec-checkpoint": '{"format": 99}'}}),
    "no text": raw({
        "__metadata__": {"netspec-checkpoint": '{"format": 1, "state": 1, "sha256": 1}'}
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", [*BAD, "sparse"])
def test_a_hostile_file_is_no_checkpoint_and_no_weights(tmp_path, monkeypatch, name) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(LAST)
    if name == "sparse":
        try:
            sparse(path)
        except OSError:
            pytest.skip("the disk has no sparse files of this size")
    else:
        path.write_bytes(BAD[name])
    with fails("run/checkpoint", "is damaged"):
        load_checkpoint(path)
    if name in ("pickle", "header of 2^60", "tensor of 2^60", "sparse"):
        with fails("weights/bad-file"):
            load_weights(path)
    assert [p.name for p in tmp_path.iterdir()] == [LAST]


def changed(halfway: Path, tensors=None, drop=(), **state) -> None:
    """Save the last checkpoint with other content and a correct checksum."""
    path = halfway / "checkpoints" / LAST
    before = load_checkpoint(path)
    kept = {name: t for name, t in before.tensors.items() if name not in drop}
    after = Checkpoint({**kept, **(tensors or {})}, {**before.state, **state})
    path.write_bytes(checkpoint_bytes(after))


WRONG = {
    "missing": ({"drop": ["model.linear1.weight"]}, "missing: `model.linear1.weight`"),
    "extra": ({"tensors": {"model.x": np.zeros(3)}}, r"unexpected: `model.x` \[3\]"),
    "shape": (
        {"tensors": {"model.linear2.bias": np.zeros(3, "f4")}},
        r"`model.linear2.bias` is \[3\], the network has \[10\]",
    ),
    "optimizer": ({"drop": ["optimizer.exp_avg"]}, "missing: `optimizer.exp_avg`"),
    "optimizer's shape": (
        {"tensors": {"optimizer.exp_avg": np.zeros(1)}}, r"`optimizer.exp_avg` is \[1\]",
    ),
    "best": ({"tensors": {"best.x": np.zeros(1)}}, r"unexpected: `best.x` \[1\]"),
    "history": ({"drop": ["history.loss_history"]}, "loss_history"),
    "random numbers": ({"backend": {"random": {"bit_generator": "MT19937"}}}, "PCG64"),
    "no random numbers": ({"backend": {}}, "random"),
    "huge random numbers": (
        {"backend": {"random": {"bit_generator": "PCG64", "state": {"state": 1 << 200, "inc": 1},
                                "has_uint32": 0, "uinteger": 0}}},
        ".",
    ),
    "epoch": ({"epoch": 99}, "not the current one"),
    "done": ({"done": -1}, "not the current one"),
    "best epoch": ({"best_epoch": 7}, "cannot be the best"),
    "no text": ({"epoch": None}, "."),
    "time": ({"seconds": "nan"}, "nan is nothing that is measured"),
    "endless time": ({"seconds": 1e308}, "1e.308 is nothing that is measured"),
    "losses": ({"tensors": {"history.loss_history": np.full(3, np.nan)}}, "nan is nothing"),
    "normalization": ({"normalization": "{}"}, "normalization is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_checkpoint_of_something_else_names_what_is_wrong(run: Run, halfway, name) -> None:
    how, told = WRONG[name]
    changed(halfway, **how)
    finished = run("train", "--resume", halfway)
    assert finished.code == 1, finished.err
    assert re.search(r"error\[(run/checkpoint|weights/bad-file|weights/mismatch)\]", finished.err)
    assert re.search(told, finished.err), finished.err


TORCH_WRONG = {
    "random numbers": ({"tensors": {"random.cpu.0": np.zeros(3, "u1")}}, "no run saves"),
    "random floats": ({"tensors": {"random.cpu.0": np.zeros(5056)}}, "no run saves"),
    "no random numbers": ({"drop": ["random.cpu.0"]}, "cpu.0"),
    "optimizer": (
        {"drop": ["optimizer.linear1.weight.exp_avg"]},
        "missing: `optimizer.linear1.weight.exp_avg`",
    ),
    "extra": (
        {"tensors": {"optimizer.linear9.weight.exp_avg": np.zeros(2)}},
        "unexpected: `optimizer.linear9.weight.exp_avg`",
    ),
    "shape": (
        {"tensors": {"optimizer.linear1.weight.exp_avg": np.zeros(2)}},
        r"`optimizer.linear1.weight.exp_avg` is \[2\], not \[16, 256\]",
    ),
    "model": ({"drop": ["model.linear1.weight"]}, "missing: `model.linear1.weight`"),
}


def test_pytorchs_checkpoints_are_checked_too(run: Run, tmp_path, monkeypatch) -> None:
    pytest.importorskip("torch").set_num_threads(1)
    net, path = tmp_path / "noisy.net", tmp_path / "run"
    net.write_text(NET, "utf-8")
    options = [*SHORT, "--epochs", "1", "--device", "cpu"]
    assert run("train", "torch", net, *options, "--out", path).code == 0
    whole = (path / "checkpoints" / LAST).read_bytes()
    for name, (how, told) in TORCH_WRONG.items():
        (path / "checkpoints" / LAST).write_bytes(whole)
        changed(path, **how)
        finished = run("train", "--resume", path)
        assert finished.code == 1, name
        assert "error[run/checkpoint]" in finished.err, finished.err
        assert re.search(told, finished.err), finished.err


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": 2}, "format 2"),
        ({"target": "shell"}, "none of numpy, c, torch"),
        ({"threads": "many"}, "`threads`"),
        ({"threads": 0}, "`threads`"),
        ({"threads": 10**18}, "`threads`"),
        ({"file": "../../secret.net"}, "elsewhere"),
        ({"options": {"epochs": -1}}, "`epochs`"),
        ({"options": {"epochs": [1]}}, "`epochs`"),
        ({"options": {"shell": "rm"}}, "`shell`"),
        ({"options": []}, "`options`"),
        ({"more": 1}, "more"),
    ],
)
def test_a_damaged_run_json_is_an_ordinary_error(run: Run, halfway, changes, told) -> None:
    path = halfway / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    finished = run("train", "--resume", halfway)
    assert finished.code in (1, 2)
    assert "error[run/damaged]" in finished.err
    assert told in finished.err


def test_a_run_json_that_is_no_json(run: Run, halfway) -> None:
    for text in ("", "[", "[]", "[" * 100_000, "3"):
        (halfway / "run.json").write_text(text)
        assert "error[run/damaged]" in run("train", "--resume", halfway).err
