"""A fuzzer for all kinds of files except `.net`: recipes, weights, data sets, pictures, run folders,
tokenizers and models of other tools.

    python -m tests.helpers.fuzz_files --seconds 1800 --seed 0 --out found/

Each case is a good file of its kind after structured mutations: of lengths, counts, types, shapes,
names and nesting, of members and chunks, and of plain bytes. See `tests.helpers.fuzz_core` for what
must hold.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import logging
import os
import pickle
import random
import re
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import netspec
from netspec.cli import FAILED, WRONG_USE, main
from netspec.diagnostics import NetspecError, render, to_json
from netspec.export.weights_file import read_tensors
from netspec.imports.onnx.front import read_onnx
from netspec.runtime.data import cifar as cifar_file
from netspec.runtime.data import idx as idx_file
from netspec.runtime.data import load
from netspec.runtime.data.files import DownloadError
from netspec.runtime.data.input_normalization import Normalization
from netspec.runtime.data.pictures import read_picture
from netspec.runtime.data.vocabularies import fixed_vocabulary, from_json
from netspec.runtime.inference.predict import read_pictures
from netspec.runtime.runs.checkpoint import LAST, Checkpoint, checkpoint_bytes, load_checkpoint
from netspec.runtime.runs.options import OPTIONS
from netspec.runtime.runs.recipe import read_recipe, recipe_text
from netspec.runtime.runs.resolve import resolve
from netspec.runtime.training.transfer import start_from
from netspec.runtime.weights.data_facts import class_names
from netspec.runtime.weights.safetensors_file import check_tensors, weights_bytes
from netspec.runtime.weights.weights_file import load_weights
from tests.helpers import file_mutations as change
from tests.helpers.fuzz_core import ROOT, Case, megabytes, run_program

Files = Mapping[str, bytes]
Mutate = Callable[[random.Random], Files]
Use = Callable[[Path, random.Random], Iterable[str] | None]

NET = """\
net Small(classes = 10) {
    input image: [64]

    output image -> linear(4) -> batch_norm -> relu -> linear(classes)
}
"""
PICTURE = """\
net Grey(classes = 3) {
    input image: [1, 6, 6]

    output image -> flatten -> linear(classes)
}
"""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        good: Valid files.
        mutate: Returns files that may be invalid.
        use: Reads the files, and returns the codes of errors that are reported without raising.
        weight: How often the kind is drawn.
    """

    good: Files
    mutate: Mutate
    use: Use
    weight: int = 4


# ---------------------------------------------------------------------------------------- recipes

TOKENS = """
[ ] [[ ]] { } = . , "a" 'b' \""" ''' # \n \n \n 0 1 -1 0x1f 0b1 1e9 nan inf true false 1979-05-27 07:32:00
[set] set epochs lr data optimizer "adam" schedule "step" milestones augment ["crop"] freeze seed 0.5 a.b
""".split(" ")


_VALUES = [
    "1", "0", "-1", "2.5", "1e308", "-0.0", "nan", "inf", "true", '""', '"adam"', '"step"', "'a.b'", "[]",
    "[1, 2]", '["crop", "flip"]', "[[1]]", "{a = 1}", "{}", "1979-05-27", "07:32:00",
    "9223372036854775807", "18446744073709551616", "0xffffffffffffffffff",
    '"""\na"""', '"\\u0000"', '"\\U0001F600"', '["a", 1]',
]  # fmt: skip


def _odd_options(rng: random.Random) -> str:
    """Return lines of TOML, each with an existing option and a possible value."""
    lines = [
        f"{name} = {rng.choice(_VALUES)}" for name in rng.sample(list(OPTIONS), rng.randint(1, 5))
    ]
    lines += rng.choice(
        [[], ["[set]", f"a = {rng.choice(_VALUES)}"], ["[[set]]", "a = 1"], ["[lr]"]]
    )
    return "\n".join(lines)


def recipes() -> Kind:
    texts = [p.read_text("utf-8") for p in sorted((ROOT / "networks").rglob("*.toml"))]
    texts += ['[set]\na = [1, "b", true]\n', 'freeze = ["a.*"]\naugment = ["flip"]\n']

    def mutate(rng: random.Random) -> Files:
        if rng.random() < 0.5:
            return {"net.toml": _odd_options(rng).encode("utf-8", "replace")}
        text = rng.choice(texts)
        for _ in range(rng.randint(1, 5)):
            starts = [0, *(i + 1 for i, char in enumerate(text) if char == "\n")]
            at = rng.choice([rng.randrange(len(text) + 1), rng.choice(starts), rng.choice(starts)])
            piece = rng.choice(
                [
                    lambda: rng.choice(TOKENS),
                    lambda: rng.choice(TOKENS),
                    lambda: ".".join("a" * rng.choice([2, 17, 5000])) + " = 1\n",
                    lambda: rng.choice("[{") * rng.choice([2, 33, 5000]),
                    lambda: (
                        f"seed = {rng.choice(['', '0x'])}{rng.choice('19') * rng.choice([5, 30, 9000])}\n"
                    ),
                    lambda: rng.choice(texts[0].split("\n")) + "\n",
                    lambda: f'a = "{chr(rng.choice([0, 7, 0xD7FF, 0xE000, 0x1F600]))}"\n',
                    lambda: "a = " + json.dumps(change.odd_value(rng)) + "\n",
                ]
            )()
            text = text[:at] + piece + text[at + rng.choice([0, 0, 1, 20]) :]
        raw = text.encode("utf-8", "replace")
        return {"net.toml": change.change_bytes(rng, raw) if rng.random() < 0.2 else raw}

    def use(folder: Path, rng: random.Random) -> None:
        recipe = read_recipe(folder / "net.toml")
        settings = resolve({}, recipe)
        (folder / "again.toml").write_text(recipe_text(settings.values, recipe.arguments), "utf-8")
        assert resolve({}, read_recipe(folder / "again.toml")).values == settings.values

    return Kind({"net.toml": texts[0].encode()}, mutate, use)


# ---------------------------------------------------------------------------------------- weights


def _model() -> Any:
    return netspec.loads(NET).compile("numpy")


def _use_weights(path: Path, model: Any) -> None:
    weights = load_weights(path)
    class_names(weights.metadata, 10)
    with contextlib.suppress(NetspecError):
        check_tensors(weights.tensors, {n: a.shape for n, a in model.state_dict().items()})
    list(start_from(model, weights.tensors).lines())


def safetensors() -> Kind:
    model, data = _model(), netspec.load_data("digits", input_shape=(64,))
    normalization = Normalization.fit("channel", data.x_train)
    about = {"class_names": json.dumps(["a", "b"]), "image_type": "uint8"}
    good = weights_bytes(model.state_dict(), normalization, about)
    length = int.from_bytes(good[:8], "little")
    header, content = json.loads(good[8 : 8 + length]), good[8 + length :]

    def mutate(rng: random.Random) -> Files:
        if rng.random() < 0.2:
            return {"w.safetensors": change.change_bytes(rng, good)}
        changed = json.loads(json.dumps(header))
        if rng.random() < 0.4:  # in the metadata, and in the JSON in it
            entry = json.loads(changed["__metadata__"]["netspec"])
            stored = json.loads(entry["normalization"])
            entry["normalization"] = json.dumps(change.change_json(rng, stored))
            entry = change.change_json(rng, entry) if rng.random() < 0.5 else entry
            changed["__metadata__"]["netspec"] = json.dumps(entry)
        else:
            changed = change.change_json(rng, changed)
        raw = change.to_json(changed)
        return {"w.safetensors": struct.pack("<Q", len(raw)) + raw + content}

    def use(folder: Path, rng: random.Random) -> None:
        with contextlib.suppress(ValueError):
            read_tensors(folder / "w.safetensors")  # as programs that only have NumPy do it
        _use_weights(folder / "w.safetensors", model)

    return Kind({"w.safetensors": good}, mutate, use)


def checkpoints(zipped: bool) -> Kind | None:
    try:
        import torch
    except ImportError:
        return None
    model = _model()
    tensors = {name: torch.from_numpy(np.array(a)) for name, a in model.state_dict().items()}
    tensors["half"] = torch.arange(6.0).reshape(2, 3).bfloat16().T
    buffer = io.BytesIO()
    torch.save({"state_dict": tensors, "epoch": 3}, buffer, _use_new_zipfile_serialization=zipped)
    good = buffer.getvalue()
    members = {}
    if zipped:
        with zipfile.ZipFile(buffer) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}

    def change_member(rng: random.Random, name: str, content: bytes) -> bytes:
        one = change.change_pickle if name.endswith(".pkl") else change.change_bytes
        return one(rng, content)

    def mutate(rng: random.Random) -> Files:
        if zipped:
            named = dict(members)
            if rng.random() < 0.6:
                (name,) = (name for name in named if name.endswith("data.pkl"))
                named[name] = change.change_pickle(rng, named[name])
                buffer = io.BytesIO()
                with zipfile.ZipFile(buffer, "w") as archive:
                    for name, content in named.items():
                        archive.writestr(name, content)
                return {"w.pth": buffer.getvalue()}
            return {"w.pth": change.change_archive(rng, named, change_member)}
        ends, at = [0], 0
        for _ in range(5):
            stream = io.BytesIO(good[at:])
            list(pickle_operations(stream))
            at += stream.tell()
            ends.append(at)
        i = rng.randrange(5)
        part = change.change_pickle(rng, good[ends[i] : ends[i + 1]])
        whole = good[: ends[i]] + part + good[ends[i + 1] :]
        return {"w.pth": change.change_bytes(rng, good) if rng.random() < 0.2 else whole}

    return Kind({"w.pth": good}, mutate, lambda folder, rng: _use_weights(folder / "w.pth", model))


def pickle_operations(stream: io.BytesIO) -> Iterable[object]:
    """Yield the operations of the pickle at the stream's position.

    The stream is left behind the pickle.
    """
    import pickletools

    return pickletools.genops(stream)


def listed_weights(safe: Kind) -> Kind:
    """Two files for the verb `weights`: one of them is good, or both are changed."""
    (good,) = safe.good.values()

    def mutate(rng: random.Random) -> Files:
        changed = [next(iter(safe.mutate(rng).values())) for _ in range(2)]
        return {"a.safetensors": changed[0], "b.safetensors": rng.choice([good, changed[1]])}

    def use(folder: Path, rng: random.Random) -> Iterable[str]:
        files = [str(folder / "a.safetensors"), str(folder / "b.safetensors")]
        renamed = rng.choice([[], [], ["--rename", r"(.*)\.weight=\1.kernel"]])
        shown = rng.choice([[], ["--format", "json"]])
        return _command(["weights", *files[: rng.choice([1, 2])], *renamed, *shown], same=True)

    return Kind({"a.safetensors": good, "b.safetensors": good}, mutate, use, weight=2)


# ------------------------------------------------------------------------------------- tokenizers

TEXT = "the cat sat on the mat, Gr\u00fc\u00dfe \U0001f600 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\n" * 20
_PATTERNS = [
    "(a+)+$",
    "(a|a)*b",
    "a{1,1000}{1,1000}",
    "(",
    "",
    ".*",
    "(?<=a)b",
    "\\p{L}+",
    "(.*)*x",
]


def tokenizers() -> Kind | None:
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    except ImportError:
        return None
    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs.decoder = decoders.ByteLevel()
    words = Tokenizer(models.WordLevel({"the": 0, "cat": 1, "<unk>": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    pairs.add_tokens(sorted(pre_tokenizers.ByteLevel.alphabet()))
    good = [json.loads(made.to_str()) for made in (pairs, words)]

    def mutate(rng: random.Random) -> Files:
        changed = change.change_json(rng, rng.choice(good))
        if rng.random() < 0.3 and isinstance(changed, dict):
            pattern = {"Regex": rng.choice(_PATTERNS)}
            split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
            changed["pre_tokenizer"] = split
        raw = change.to_json(changed)
        return {"tokenizer.json": change.change_bytes(rng, raw) if rng.random() < 0.2 else raw}

    def use(folder: Path, rng: random.Random) -> None:
        found = fixed_vocabulary(str(folder / "tokenizer.json"))
        again = from_json(found.to_json())
        tokens = again.encode(TEXT, "a text")
        assert len(again.names()) == again.size
        decoder = again.decoder(tokens[:3])
        "".join([*(decoder.next(int(token)) for token in tokens[3:40]), decoder.end()])

    return Kind({"tokenizer.json": change.to_json(good[0])}, mutate, use)


# ------------------------------------------------------------------------------------ ONNX models

IMPORTED = """\
net Small {
    input image: [3, 8, 8]
    x = image -> conv(4, 3, pad = 1) -> batch_norm -> relu -> max_pool(2) -> reshape([4, 16])
    y = x -> permute([2, 1]) -> layer_norm -> linear(6) -> gelu -> slice(1, 0, 8) -> lstm(5) -> mean(1)
    output y -> linear(3) -> softmax
}
"""


def onnx_models() -> Kind | None:
    try:
        import onnx
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "net.onnx"
        netspec.loads(IMPORTED).compile().to_onnx(path)
        good = path.read_bytes()

    def mutate(rng: random.Random) -> Files:
        if rng.random() < 0.3:
            return {"net.onnx": change.change_bytes(rng, good)}
        return {"net.onnx": change.change_onnx(rng, onnx.load_from_string(good))}

    def use(folder: Path, rng: random.Random) -> Iterable[str]:
        if rng.random() < 0.8:
            read_onnx(folder / "net.onnx")
            return []
        out = ["-o", str(folder / "net.net"), "--weights-out", str(folder / "w.safetensors")]
        return _command(["import", "onnx", str(folder / "net.onnx"), *out])

    return Kind({"net.onnx": good}, mutate, use, weight=3)


# ------------------------------------------------------------------------------------- data sets


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


_ARRAYS = {
    "x_train": np.arange(48, dtype=np.uint8).reshape(3, 1, 4, 4),
    "y_train": np.array([0, 1, 2]),
    "x_test": np.zeros((1, 1, 4, 4), np.uint8),
    "y_test": np.array([1]),
}
_SHAPES = [
    "()", "(3,)", "(3, 16)", "(0, 16)", "(3, 0)", "(True,)", "(-3, -16)", f"({10**30},)", "((3,),)",
    f"(0, {10**30})", "(3, 1, 4, 4)", "(" + "1, " * 70 + ")", "[3]", "3",
]  # fmt: skip
_TYPES = [
    "'<f4'", "'|u1'", "'<i8'", "'|O'", "'<U3'", "'|S0'", "'|V8'", "'<f2'", "'>f8'", "'<c8'", "'|b1'",
    "[('a', '<f4')]", "('<f4', (2,))", "'<M8[s]'", "'f4,f4'", "'x'", "None", "'<f16'",
]  # fmt: skip


def change_npy(rng: random.Random, name: str, raw: bytes) -> bytes:
    """Return an `.npy` file after an edit of its header or its numbers."""
    what = rng.random()
    header = raw[10:128].decode("latin-1")
    if what < 0.4:
        start = header.index("'shape': ") + 9
        header = header[:start] + rng.choice(_SHAPES) + ", }"
    elif what < 0.7:
        header = f"{{'descr': {rng.choice(_TYPES)}" + header[header.index(", 'fortran") :].rstrip()
    elif what < 0.8:
        header = rng.choice(["{", "(" * 3000, "-" * 9000 + "1", "", "{}", "1", "[" * 90 + "]" * 90])
    elif what < 0.9:
        return raw[:128] + rng.randbytes(len(raw) - 128)
    else:
        return change.change_bytes(rng, raw)
    return raw[:8] + struct.pack("<H", len(header)) + header.encode("latin-1") + raw[128:]


def npz() -> Kind:
    members = {f"{name}.npy": _npy(array) for name, array in _ARRAYS.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **_ARRAYS)

    def use(folder: Path, rng: random.Random) -> None:
        data = load(folder / "a.npz", None, rng.choice([None, (1, 4, 4), (16,)]))
        data.check_classes(10)

    return Kind(
        {"a.npz": buffer.getvalue()},
        lambda rng: {"a.npz": change.change_archive(rng, members, change_npy)},
        use,
    )


def npy() -> Kind:
    good = {f"{name}.npy": _npy(array) for name, array in _ARRAYS.items()}

    def mutate(rng: random.Random) -> Files:
        name = rng.choice(list(good))
        files = {**good, name: change_npy(rng, name, good[name])}
        if rng.random() < 0.2:
            files["classes.txt"] = rng.choice([b"a\nb\nc", b"a", b"\xff", b"a\n" * 600_000])
        return files

    def use(folder: Path, rng: random.Random) -> None:
        load(folder).check_classes(10)
        read_pictures(folder / "x_train.npy", (1, 4, 4))

    return Kind(good, mutate, use)


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def idx() -> Kind:
    good = {}
    for part, count in (("train", 6), ("t10k", 2)):
        good[f"{part}-images-idx3-ubyte"] = _idx(np.zeros((count, 28, 28), np.uint8))
        good[f"{part}-labels-idx1-ubyte"] = _idx(np.arange(count, dtype=np.uint8))

    def mutate(rng: random.Random) -> Files:
        files = dict(good)
        name = rng.choice(list(files))
        raw = files.pop(name)
        if rng.random() < 0.5:
            at = 4 * rng.randrange(4)
            raw = raw[:at] + struct.pack(">I", rng.choice(change.NUMBERS) % 2**32) + raw[at + 4 :]
        else:
            raw = change.change_bytes(rng, raw)
        if rng.random() < 0.5:
            raw += bytes(rng.choice([0, 0, 10**6, 10**8]))
            raw = gzip.compress(raw, 1)
            raw = change.change_bytes(rng, raw) if rng.random() < 0.5 else raw
            raw = gzip.compress(b"") * rng.choice([0, 0, 100_000]) + raw
        files[name + rng.choice(["", ".gz"])] = raw
        return files

    return Kind(good, mutate, lambda folder, rng: _loaded("mnist", folder), weight=2)


def _loaded(name: str, folder: Path) -> None:
    load(name, folder)


def cifar() -> Kind:
    data = {"data": np.zeros((2, 3072), np.uint8), "labels": [1, 2]}
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    batches = [pickle.dumps(data, protocol) for protocol in (2, 3, 4)]

    def files(batch: bytes) -> Files:
        return {**dict.fromkeys(names, batches[0]), "data_batch_1": batch}

    def mutate(rng: random.Random) -> Files:
        return files(change.change_pickle(rng, rng.choice(batches)))

    return Kind(files(batches[1]), mutate, lambda folder, rng: _loaded("cifar10", folder))


# --------------------------------------------------------------------------------------- pictures


def _pictures() -> dict[str, bytes]:
    from PIL import Image

    rng, found = np.random.default_rng(0), {}
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"):
        image = Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8)).convert("L")
        image = image.convert("I;16" if mode == "I;16" else mode)
        kinds = [("png", {})] if mode != "CMYK" else []
        kinds += (
            [("jpg", {}), ("jpg", {"progressive": True})] if mode in ("L", "RGB", "CMYK") else []
        )
        for i, (suffix, options) in enumerate(kinds):
            buffer, exif = io.BytesIO(), Image.Exif()
            exif[0x0112] = 6
            image.save(buffer, "PNG" if suffix == "png" else "JPEG", exif=exif, **options)
            found[f"{mode.replace(';', '')}{i}.{suffix}"] = buffer.getvalue()
    return found


def change_picture(rng: random.Random, name: str, raw: bytes) -> bytes:
    """Return a picture after an edit of its parts."""
    one = change.change_png if name.endswith("png") else change.change_jpeg
    for _ in range(rng.choice([1, 1, 2])):
        raw = one(rng, raw) if len(raw) > 30 else raw
    return raw


def pictures() -> Kind:
    good = _pictures()

    def mutate(rng: random.Random) -> Files:
        name = rng.choice(list(good))
        raw = change_picture(rng, name, good[name])
        if name.endswith("png") and rng.random() < 0.2:  # of any size
            raw = raw[:16] + struct.pack(">II", *rng.choices([1, 6, 7000, 60_000], k=2)) + raw[24:]
        return {rng.choice(["a.png", "a.jpg"]): raw}

    def use(folder: Path, rng: random.Random) -> None:
        (path, *_) = folder.iterdir()
        size, resize = rng.choice([None, (6, 6)]), rng.choice([False, True, 6])
        read_picture(path, rng.choice([None, 1, 3]), size, resize=resize)

    return Kind({"a.png": good["RGB0.png"]}, mutate, use, weight=6)


def class_folders() -> Kind:
    found = _pictures()
    good = {
        f"{part}/{name}/{i}.png": found["L0.png"]
        for part in ("train", "test")
        for name in ("cat", "dog")
        for i in range(2)
    }

    def mutate(rng: random.Random) -> Files:
        files = {n: c for n, c in good.items() if rng.random() < 0.9}
        for _ in range(rng.choice([0, 1, 2])):
            part, name = rng.choice(["train", "test", "other"]), rng.choice(_NAMES)
            suffix = rng.choice([".png", ".jpg", ".PNG", ".txt", "", ".gif"])
            files[f"{part}/{name}/a{suffix}"] = rng.choice(list(found.values()))
        for name in rng.sample(list(files), min(len(files), rng.choice([0, 1, 3]))):
            files[name] = change_picture(rng, name, files[name]) if files[name] else b""
        return files

    def use(folder: Path, rng: random.Random) -> None:
        root = folder if any(folder.iterdir()) else folder / "nothing"
        for _ in range(rng.choice([0, 0, 1, 2])):
            place = rng.choice([root, *root.glob("*"), *root.glob("*/*")])
            place = place if place.is_dir() else place.parent
            with contextlib.suppress(FileExistsError):
                (place / rng.choice(["link", "link.png"])).symlink_to(
                    rng.choice(["link", "link.png", "..", ".", "/dev/null", "nowhere", place])
                )
        data = load(
            root,
            None,
            rng.choice([None, (1, 6, 6), (36,), (3, 6, 6)]),
            resize=rng.choice([False, True]),
        )
        json.dumps(data.class_names)

    return Kind(good, mutate, use, weight=2)


_NAMES = [
    "cat",
    "dog",
    "c" * 240,
    "\x1b[31m",
    "a b",
    "é",
    os.fsdecode(b"\xff\xfe"),
    "-x",
    "'",
    "[a]*",
    ".h",
]


# ------------------------------------------------------------------------------------ run folders

# Each command is a part of a run's life. Training takes two steps.
COMMANDS = (
    ("runs",), ("runs", "--compare"), ("runs", "--format", "json"), ("summarize",), ("check",),
    ("eval", "--part", "test"), ("train", "--epochs", "2", "--quiet", "--resume"),
)  # fmt: skip


def run_folders() -> Kind:
    with tempfile.TemporaryDirectory() as place:
        net, path = Path(place) / "small.net", Path(place) / "run"
        net.write_text(NET)
        code = main(
            [
                *(
                    "train",
                    str(net),
                    "--epochs",
                    "1",
                    "--train-limit",
                    "32",
                    "--batch",
                    "16",
                    "--val",
                    "8",
                ),
                *("--set", "classes=10", "--out", str(path), "--quiet", "--threads", "1"),
            ]
        )
        assert code == 0
        good = {
            p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()
        }
        last = load_checkpoint(path / "checkpoints" / LAST)

    def mutate(rng: random.Random) -> Files:
        files = dict(good)
        for _ in range(rng.choice([1, 1, 2])):
            name = rng.choice(
                [
                    *files,
                    "run.json",
                    "run.json",
                    "metrics.jsonl",
                    "metrics.jsonl",
                    f"checkpoints/{LAST}",
                ]
            )
            if name in files:
                files.update(_changed_part(rng, name, files.pop(name), last))
        return files

    def use(folder: Path, rng: random.Random) -> Iterable[str]:
        return _command([*rng.choice(COMMANDS), str(folder)])

    return Kind(good, mutate, use, weight=8)


def _changed_part(rng: random.Random, name: str, raw: bytes, last: Checkpoint) -> Files:
    """Return a file of a run after an edit that suits its kind, or nothing if the file is removed."""
    if rng.random() < 0.05:
        return {}
    if name == "run.json" and rng.random() < 0.9:
        with contextlib.suppress(ValueError):
            return {name: change.to_json(_bounded(change.change_json(rng, json.loads(raw))))}
    if name == "metrics.jsonl" and rng.random() < 0.9 and raw:
        lines = raw.split(b"\n")
        at = rng.randrange(len(lines))
        with contextlib.suppress(ValueError):
            lines[at] = change.to_json(change.change_json(rng, json.loads(lines[at])))
        return {name: b"\n".join(lines)}
    if name == f"checkpoints/{LAST}" and rng.random() < 0.9:
        return {name: _changed_checkpoint(rng, last)}
    return {name: change.change_bytes(rng, raw)}


def _changed_checkpoint(rng: random.Random, last: Checkpoint) -> bytes:
    """Return a changed checkpoint whose checksum is correct."""
    tensors, state = dict(last.tensors), dict(last.state)
    if rng.random() < 0.6:
        changed = change.change_json(rng, state)
        state = changed if isinstance(changed, dict) else state
    else:
        name = rng.choice(list(tensors))
        array = tensors.pop(name)
        shapes = [
            array.reshape(-1), array[None], array.astype(np.float64), array.astype(np.uint8),
            np.zeros(0), np.zeros((2, 3)), np.full_like(array, 255), np.zeros(array.shape, bool),
        ]  # fmt: skip
        if rng.random() < 0.9:
            tensors[rng.choice([name, name, name, "x", *change.TEXTS])] = rng.choice(shapes)
    with contextlib.suppress(ValueError, UnicodeEncodeError):
        return checkpoint_bytes(Checkpoint(tensors, state))
    return checkpoint_bytes(last)


def _bounded(facts: Any) -> Any:
    """Limit the work that a run asks for, because a run that asks for much work is not a bad file."""
    options = facts.get("options") if isinstance(facts, dict) else None
    for name in ("epochs", "threads", "processes"):
        if isinstance(options, dict) and name in options and isinstance(options[name], int):
            options[name] = min(options[name], 2)
    return facts


def _command(arguments: list[str], *, same: bool = False) -> list[str]:
    """Run a command line, and return the codes of the errors that it prints.

    Args:
        arguments: the words.
        same: whether it also fails, without an error, if two files differ.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    assert code in (0, FAILED, WRONG_USE), f"{arguments}: exit code {code}\n{err.getvalue()}"
    assert not code or same or "error" in err.getvalue(), f"{arguments}: {code} {err.getvalue()}"
    assert len(out.getvalue()) + len(err.getvalue()) < 200_000, f"{arguments}: much is printed"
    assert "\x1b" not in out.getvalue() + err.getvalue(), f"{arguments}: an escape"
    assert "out of memory" not in err.getvalue(), err.getvalue()
    return re.findall(r"error\[([a-z/-]+)\]", err.getvalue())


# ------------------------------------------------------------------------------------ the target


def _no_download(*_: object) -> Path:
    raise DownloadError("nothing is downloaded")


class FilesOfAnyKind:
    """The kinds of files above; see `Target`."""

    module = "tests.helpers.fuzz_files"

    def __init__(self) -> None:
        # A data set that lacks a file must not be found elsewhere or downloaded.
        os.environ["NETSPEC_DATA_DIR"] = tempfile.gettempdir() + "/nowhere"
        idx_file.download = cifar_file.download = _no_download
        os.environ["NETSPEC_DEBUG"] = "1"
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            safe = safetensors()
            made: dict[str, Kind | None] = {
                "recipe": recipes(), "safetensors": safe, "pth": checkpoints(True),
                "old-pth": checkpoints(False), "npz": npz(), "npy": npy(), "idx": idx(),
                "cifar": cifar(), "picture": pictures(), "classes": class_folders(),
                "run": run_folders(), "weights": listed_weights(safe), "tokenizer": tokenizers(),
                "onnx": onnx_models(),
            }  # fmt: skip
        self.kinds = {name: kind for name, kind in made.items() if kind is not None}
        self.seconds = self._try_the_good_ones()
        self.megabytes = megabytes()

    def _try_the_good_ones(self) -> float:
        slowest = 0.0
        with tempfile.TemporaryDirectory() as place:
            for number, (name, kind) in enumerate([*self.kinds.items()] * 2):
                for path, content in kind.good.items():
                    where = Path(place) / str(number) / path
                    where.parent.mkdir(parents=True, exist_ok=True)
                    where.write_bytes(content)
                start = time.process_time()
                found = [*self.carry_out(Path(place) / str(number), Case(name, kind.good, number))]
                assert not found or name in ("picture", "classes"), (name, found)
                slowest = (
                    max(slowest, time.process_time() - start) if number >= len(self.kinds) else 0.0
                )
        return slowest

    def case(self, rng: random.Random) -> Case:
        names = list(self.kinds)
        (name,) = rng.choices(names, [self.kinds[name].weight for name in names])
        return Case(name, self.kinds[name].mutate(rng), rng.randrange(2**32))

    def carry_out(self, folder: Path, case: Case) -> Iterator[str]:
        try:
            yield from self.kinds[case.kind].use(folder, random.Random(case.seed)) or ()
        except NetspecError as error:
            for diagnostic in error.diagnostics:
                text = render(diagnostic)
                assert "MemoryError" not in text, text
                assert len(text) < 20_000, text[:2000]
                to_json(diagnostic)
                yield diagnostic.code


if __name__ == "__main__":
    sys.exit(run_program(FilesOfAnyKind, __doc__))
