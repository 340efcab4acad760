"""Weights files: what is saved is read back, and a hostile file gives an ordinary error."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.diagnostics import NetspecError
from netspec.runtime.data.input_normalization import (
    FITTED,
    Normalization,
    Normalizations,
    normalization_from_json,
)
from netspec.runtime.weights.data_facts import TrainedOn
from netspec.runtime.weights.digest import weights_digest
from netspec.runtime.weights.safetensors_file import check_tensors, save_weights
from netspec.runtime.weights.weights_file import load_weights
from tests.helpers.errors import fails

RNG = np.random.default_rng(0)
TENSORS = {
    "conv1.weight": RNG.random((4, 3, 2, 2), np.float32),
    "bn.num_batches_tracked": np.array(7),
    "fc.weight": RNG.random((3, 5)).T,  # not contiguous
    "half": np.ones(3, np.float16),
    "big": np.arange(4, dtype=">f4"),
}


def normalization():
    return Normalization.fit("channel", RNG.integers(0, 256, (9, 3, 4, 4), np.uint8))


def test_what_is_saved_comes_back(tmp_path):
    path = tmp_path / "w.safetensors"
    saved = normalization()
    save_weights(path, TENSORS, saved, {"net": "LeNet", "epoch": "3"})
    weights = load_weights(path)
    assert set(weights.tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert np.array_equal(weights.tensors[name], tensor)
        assert weights.tensors[name].shape == tensor.shape
    assert weights.normalization is not None
    assert np.array_equal(weights.normalization.mean, saved.mean)
    assert np.array_equal(weights.normalization.scale, saved.scale)
    assert weights.metadata == {"net": "LeNet", "epoch": "3"}


def test_weights_are_a_mapping_that_knows_what_it_was_trained_on(tmp_path):
    path, again = tmp_path / "w.safetensors", tmp_path / "again.safetensors"
    save_weights(path, TENSORS, TrainedOn(normalization(), {"class_names": '["a", "b"]'}))
    weights = load_weights(path)
    assert isinstance(weights, Mapping)
    assert len(weights) == len(TENSORS)
    assert {name: array.shape for name, array in weights.items()} == {
        name: array.shape for name, array in TENSORS.items()
    }
    assert weights["big"] is weights.tensors["big"]
    assert "none" not in weights
    assert weights == weights
    assert weights in {weights}
    save_weights(again, weights)
    assert again.read_bytes() == path.read_bytes()


def test_the_digest_is_of_names_types_shapes_and_numbers_alone(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, TENSORS, normalization(), {"epoch": "3"})
    digest = weights_digest(TENSORS)
    assert re.fullmatch("[0-9a-f]{16}", digest)
    assert weights_digest(load_weights(path).tensors) == digest
    assert weights_digest(dict(reversed(TENSORS.items()))) == digest
    swapped = {n: t.astype(t.dtype.newbyteorder(">")) for n, t in TENSORS.items()}
    assert weights_digest(swapped) == digest
    numbers = TENSORS["big"] + np.array([0, 0, 0, 1], "f")
    others = [
        {**TENSORS, "big": numbers},
        {**TENSORS, "big": TENSORS["big"].reshape(2, 2)},
        {**TENSORS, "big": TENSORS["big"].astype(np.float64)},
        {**TENSORS, "more": np.zeros(0)},
        {("Half" if n == "half" else n): t for n, t in TENSORS.items()},
    ]
    assert len({digest, *map(weights_digest, others)}) == 6


def test_equal_weights_are_equal_files_and_leave_nothing_else(tmp_path):
    metadata = dict.fromkeys("abcdefgh", "x")
    saved = normalization()
    for name in ("one", "two"):
        save_weights(tmp_path / name, TENSORS, saved, metadata)
    save_weights(tmp_path / "two", TENSORS, saved, metadata)  # over an existing file
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"]


def test_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w"
    save_weights(path, TENSORS)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with fails("weights/bad-file", "No space left"):
        save_weights(path, {"a": np.zeros(3)})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w"]


def test_save_to_nowhere_and_of_objects(tmp_path):
    with fails("weights/bad-file", "cannot be written"):
        save_weights(tmp_path / "no" / "w", TENSORS)
    with fails("weights/bad-tensor", "object"):
        save_weights(tmp_path / "w", {"a": np.array([None])})


def test_torch_loads_the_file_strictly(tmp_path):
    torch = pytest.importorskip("torch")
    load_file = pytest.importorskip("safetensors.torch").load_file
    save_weights(
        tmp_path / "w", {"weight": np.ones((2, 3), np.float32), "bias": np.zeros(2, np.float32)}
    )
    torch.nn.Linear(3, 2).load_state_dict(load_file(tmp_path / "w"), strict=True)


def test_files_of_other_programs_are_read(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.ones(2)}, tmp_path / "w", {"format": "pt"})
    weights = load_weights(tmp_path / "w")
    assert weights.normalization is None
    assert weights.metadata == {"format": "pt"}


def raw(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(start: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


class Hostile:
    def __reduce__(self):
        return (os.system, ("touch hostile-code-ran",))


def with_metadata(text: str) -> bytes:
    return raw({"__metadata__": {"netspec": text}, "a": tensor(0, 4, [1])}, bytes(4))


BAD = {
    "empty": (b"", ""),
    "text": (b"hello, world, this is no weights file", ""),
    "pickle": (pickle.dumps(Hostile()) + bytes(32), "not a file written by torch.save"),
    "zip": (b"PK\x03\x04" + bytes(64), "not a valid zip archive"),
    "header of 2^60": (raw({}, length=2**60), ""),
    "header of 2^64 - 1": (raw({}, length=2**64 - 1), ""),
    "no json": (struct.pack("<Q", 8) + b"not json", ""),
    "overlap": (raw({"a": tensor(0, 8, [2]), "b": tensor(4, 12, [2])}, bytes(12)), ""),
    "hole": (raw({"a": tensor(0, 4, [1]), "b": tensor(8, 12, [1])}, bytes(12)), ""),
    "beyond the end": (raw({"a": tensor(0, 400, [100])}, bytes(4)), ""),
    "shape of 2^62": (raw({"a": tensor(0, 4, [2**62])}, bytes(4)), ""),
    "overflowing shape": (raw({"a": tensor(0, 4, [2**32, 2**32, 1])}, bytes(4)), ""),
    "wrong size": (raw({"a": tensor(0, 4, [2])}, bytes(4)), ""),
    "unknown type": (raw({"a": tensor(0, 4, [1], "OBJECT")}, bytes(4)), ""),
    "float8": (raw({"a": tensor(0, 4, [4], "F8_E4M3")}, bytes(4)), "save the weights as float32"),
    "metadata no json": (with_metadata("{"), "metadata are damaged"),
    "metadata a list": (with_metadata("[]"), "metadata are damaged"),
    "metadata nested": (with_metadata("[" * 100_000), "metadata are damaged"),
    "metadata no text": (with_metadata('{"metadata": {"a": 1}}'), "not all strings"),
    "normalization": (
        with_metadata('{"metadata": {}, "normalization": "{}"}'),
        "normalization is damaged",
    ),
}


def test_a_path_that_no_file_can_have():
    with fails("weights/bad-file", "null byte"):
        load_weights("x\0y")


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_and_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    content, part = BAD[name]
    Path("w").write_bytes(content)
    with fails("weights/bad-file", part):
        load_weights("w")
    assert [p.name for p in tmp_path.iterdir()] == ["w"]


def test_no_file_and_a_folder(tmp_path):
    with fails("weights/bad-file", "no such file"):
        load_weights(tmp_path / "w")
    with fails("weights/bad-file", "is a folder without weights"):
        load_weights(tmp_path)


@settings(max_examples=100)
@given(cut=st.integers(0, 400), noise=st.binary(max_size=8), at=st.integers(0, 300))
def test_damaged_files_load_or_are_refused(tmp_path_factory, cut, noise, at):
    path = tmp_path_factory.mktemp("w") / "w"
    save_weights(path, {"a": np.ones((3, 4), np.float32)}, normalization())
    content = path.read_bytes()
    content = content[:at] + noise + content[at + len(noise) :]
    path.write_bytes(content[: len(content) - cut])
    with contextlib.suppress(NetspecError):
        load_weights(path)


def test_mismatch_names_every_tensor():
    tensors = {"a": np.zeros((2, 3)), "b": np.zeros(4), "extra": np.zeros(1)}
    check_tensors(tensors, {"a": (2, 3), "b": (4,), "extra": (1,)})
    with pytest.raises(NetspecError) as caught:
        check_tensors(tensors, {"a": (3, 2), "b": (4,), "c": (5,)})
    text = str(caught.value)
    assert "weights/mismatch" in text
    assert "missing: `c` [5]" in text
    assert "unexpected: `extra` [1]" in text
    assert "`a` is [2, 3], the network has [3, 2]" in text
    assert "`b`" not in text


# ---------------------------------------------------------------------------------- normalization


@pytest.mark.parametrize("kind", FITTED)
@pytest.mark.parametrize("shape", [(400, 3, 16, 16), (50, 6)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_normalization_survives_json_bit_for_bit(kind, shape, dtype):
    x = RNG.integers(0, 200, shape).astype(dtype)
    fitted = Normalization.fit(kind, x)
    again = normalization_from_json(fitted.to_json())
    assert np.array_equal(fitted.apply(x, "f4"), again.apply(x, "f4"))
    assert again.apply(x, "f8").dtype == np.float64


def test_normalization_does_what_it_says():
    x = RNG.integers(0, 200, (400, 3, 16, 16), np.uint8)
    f = x.astype(float)

    def apply(kind, x):
        return Normalization.fit(kind, x).apply(x, "f8")

    assert np.array_equal(apply("none", x), f)
    assert np.allclose(apply("unit", x), f / 255)
    assert np.allclose(apply("unit", f / 4), f / f.max())
    channel = (f - f.mean((0, 2, 3), keepdims=True)) / f.std((0, 2, 3), keepdims=True)
    assert np.allclose(apply("channel", x), channel, atol=1e-5)
    assert np.allclose(apply("mean-image", x), f - f.mean(0), atol=1e-4)
    flat = x.reshape(400, -1)
    assert np.allclose(apply("channel", flat), (flat - flat.mean()) / flat.std(), atol=1e-5)
    features = RNG.normal([5, -3], [1, 9], (300, 2))
    expected = (features - features.mean(0)) / features.std(0)
    assert np.allclose(apply("channel", features), expected, atol=1e-5)


def test_normalization_of_what_never_changes_is_finite():
    for value in (0, 7, 1e6):
        x = np.full((5, 2, 3, 3), value, np.float32)
        for kind in FITTED:
            assert np.isfinite(Normalization.fit(kind, x).apply(x, "f4")).all()


def test_normalization_errors():
    with fails("train/bad-option", "did you mean `channel`"):
        Normalization.fit("chanel", np.zeros((2, 3)))
    fitted = Normalization.fit("channel", np.zeros((2, 3, 4, 4), np.uint8))
    with fails("data/shape", "do not fit"):
        fitted.apply(np.zeros((2, 1, 4, 4)), "f4")


def changed(**changes):
    return json.dumps({**json.loads(normalization().to_json()), **changes})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "[" * 100_000,
        changed(kind="other"),
        changed(kind=[]),
        changed(mean={"shape": [2**40], "data": ""}),
        changed(mean={"shape": [-1], "data": ""}),
        changed(mean={"shape": [1], "data": "!!!!"}),
        changed(mean={"shape": [1], "data": "é"}),
        changed(mean={"shape": [1], "data": "AADAfw=="}),  # NaN
        changed(scale={"shape": [1], "data": "AAAAAA=="}),  # zero
        changed(mean={"shape": [2, 1, 1], "data": "AAAAAAAAAAA="}),  # against 3 scales
        changed(mean=None),
    ],
)
def test_damaged_normalization_is_refused(text):
    with fails("weights/bad-file", "normalization is damaged"):
        normalization_from_json(text)


def test_the_verb_lists_how_inputs_were_normalised_and_the_classes(run, tmp_path):
    by = Normalization("channel", np.full((1, 1, 1), 77.87, "f"), np.full((1, 1, 1), 82.8, "f"))
    tensors, names = {"w": np.ones(2, "f")}, json.dumps(["cat", "\x1b[2Jowl"])
    path = tmp_path / "w.safetensors"
    save_weights(path, tensors, by, {"class_names": names})
    done = run("weights", path)
    assert "the input was normalised in training: (x - 77.87) / 82.8\n" in done.out
    assert "2 classes: cat, \\x1b[2Jowl" in done.out
    read = json.loads(run("weights", path, "--format", "json").out)
    assert read["normalization"]["kind"] == "channel"
    assert read["normalization"]["scale"] == [[[pytest.approx(82.8)]]]
    assert read["class_names"] == ["cat", "\x1b[2Jowl"]
    both = Normalizations({"a": by, "b": Normalization.fit("none", np.zeros((1, 3)))})
    save_weights(path, tensors, both)
    assert "b was normalised in training: x\n" in run("weights", path).out
    assert json.loads(run("weights", path, "--format", "json").out)["normalization"]["b"]["mean"]
    save_weights(path, tensors)
    assert "normalised" not in run("weights", path).out
    assert "class_names" not in run("weights", path, "--format", "json").out
