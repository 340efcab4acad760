"""Files made to take memory or time, or to be read differently than checked, give ordinary errors."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import pickle
import struct
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from netspec.diagnostics import NetspecError, Source, render
from netspec.export import weights_file
from netspec.files import zip_archive
from netspec.files.plain_pickle import PickleRefusedError
from netspec.files.regular_file import read_regular
from netspec.runtime.data import Dataset, load, npy_members
from netspec.runtime.data.arrays import open_npy
from netspec.runtime.data.cifar import read_batch
from netspec.runtime.data.cifar_pickle import load_dict
from netspec.runtime.data.idx import read_idx
from netspec.runtime.data.input_normalization import normalization_from_json
from netspec.runtime.data.pictures import read_picture
from netspec.runtime.runs.folder import RunFolder
from netspec.runtime.runs.metrics import read_metrics
from netspec.runtime.runs.recipe import MAX_MISTAKES, check_recipe, recipe_text
from netspec.runtime.training.transfer import start_from
from netspec.runtime.weights import safetensors_header
from netspec.runtime.weights.pytorch_file import load_pytorch
from netspec.runtime.weights.safetensors_file import check_tensors
from netspec.runtime.weights.weights_file import load_weights
from tests.conftest import Run
from tests.helpers.bounds import MEGABYTES, SECONDS, within_bounds


@contextlib.contextmanager
def refused(code: str, part: str = "", megabytes: int = MEGABYTES):
    """Expect an ordinary error with this code, soon and without much memory."""
    start = time.process_time()
    with (
        pytest.raises(NetspecError, match=rf"(?s)\[{code}\].*{part}") as caught,
        within_bounds(megabytes),
    ):
        yield
    assert time.process_time() - start < SECONDS
    assert all(len(render(d)) < 5000 for d in caught.value.diagnostics)


# --------------------------------------------------------------------------------- CIFAR's pickles


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


ENCODE = b"c_codecs\nencode\n"
TEXT = text(b"a" * 300_000)
ARRAY = (
    b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
)  # fmt: skip
BYTE = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
BIG = b"\x8a\xff" + b"\x7f" * 255  # a number of 2,040 bits

PICKLES = {
    # One text in the memo, and many calls that make bytes of it, which are all kept.
    "copies by encode": (
        b"\x80\x02](" + TEXT + b"q\x01" + (ENCODE + b"h\x01U\x06latin1\x86R") * 12_000 + b"e.",
        "more bytes than it has",
    ),
    "copies by arrays": (
        b"\x80\x02](" + TEXT + b"q\x01"
        + (ARRAY + b"(K\x01J\xe0\x93\x04\x00\x85" + BYTE + b"\x89h\x01tb") * 6_000 + b"e.",
        "more bytes than it has",
    ),
    "a shape of long numbers": (
        b"\x80\x02" + ARRAY + b"(K\x01(" + BIG * 50_000 + b"t" + BYTE + b"\x89U\x00tb.",
        "not the shape",
    ),
    "a shape of many sizes": (
        b"\x80\x02" + ARRAY + b"(K\x01(" + b"K\x01" * 200_000 + b"t" + BYTE + b"\x89U\x01atb.",
        "not the shape",
    ),
    # A name whose text would have 2^60 characters.
    "a name that doubles": (
        b"\x80\x04" + b"X\x01\x00\x00\x00a" + b"q\x00h\x00\x86" * 60 + b"\x8c\x01b\x93.", "not a string",
    ),
    "a long name": (b"\x80\x02c" + b"o" * 1_000_000 + b"\nx\n)R.", "it calls ooo"),
}  # fmt: skip


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_of_cifar_takes_no_more_than_its_size(tmp_path, name) -> None:
    content, reason = PICKLES[name]
    path = tmp_path / "data_batch_1"
    path.write_bytes(content)
    with refused("data/bad-file", reason):
        read_batch(path)


def test_a_pickle_within_the_limit_of_operations_takes_little_time() -> None:
    content = b"\x80\x02" + b"]q\x00" * 199_000 + b"."
    with pytest.raises(PickleRefusedError), within_bounds():
        load_dict(content)


# -------------------------------------------------------------------------------------- recipes

RECIPES = {
    "a dotted key of 30,000 parts": ".".join("a" * 30_000) + " = 1",
    "with spaces and quotes": ' . '.join(['"a"', "'b'", "c"] * 10_000) + " = 1",
    "a heading": "[" + ".".join("a" * 30_000) + "]",
    "in an inline table": "a = { " + ".".join("a" * 30_000) + " = 1 }",
    "after strings": 'a = """\n"quoted" # no comment""" # "\nb = \'"\'\n' + ".".join("c" * 30_000),
    "brackets": "[set]\na = " + "[" * 5000 + "]" * 5000,
    "tables in tables": "a = " + "{a = " * 5000 + "1" + "}" * 5000,
    "brackets that close": "a = " + "[" * 20_000 + "1" + "]" * 20_000,
    "a text that does not end": 'a = """' + '\\"""' * 30_000,
    "a line that does not end": 'a = "' + '\\"' * 60_000,
    "a decimal number": "seed = " + "1" * 100_000,
    "a hexadecimal number": "seed = 0x" + "f" * 100_000,
    "a hexadecimal number in a list": "[set]\nx = [1, [0x" + "f" * 100_000 + "]]",
    "a megabyte": "# " + "x" * (1 << 20),
    "thousands of unknown options": "\n".join(f"a{i} = 1" for i in range(5000)),
    "thousands of items": "milestones = [" + "-1," * 20_000 + "]",
    "tables of arguments": "[[set]]\na = 1",
    "tables of options": "[[epochs]]\na = 1",
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_bounded_before_it_is_parsed(name) -> None:
    with refused("(recipe|limit)/.*"):
        check_recipe(Source("net.toml", RECIPES[name]))


def test_keys_and_brackets_of_an_ordinary_depth_are_parsed() -> None:
    nested = "[set]\na = " + "[" * 30 + "1" + "]" * 30
    assert check_recipe(Source("net.toml", nested)).arguments["a"]
    with refused("recipe/key", "`a`"):
        check_recipe(Source("net.toml", ".".join("a" * 16) + " = 1"))
    fine = "\n".join(f"# {'a.' * 50}\n" for _ in range(20)) + "data = '" + "a." * 50 + "npz'"
    assert check_recipe(Source("net.toml", fine)).values["data"].endswith("a.npz")


def test_of_many_mistakes_in_a_recipe_the_first_are_told() -> None:
    with pytest.raises(NetspecError, match=f"{MAX_MISTAKES} mistakes") as caught:
        check_recipe(Source("net.toml", "\n".join(f"a{i} = 1" for i in range(500))))
    assert len(caught.value.diagnostics) == MAX_MISTAKES + 1


def test_a_recipe_is_written_with_any_character() -> None:
    odd = "a\U000e0001\U0001f600\x7f\u2028b"
    written = recipe_text({"data": odd, "freeze": [odd]}, {"word": odd})
    again = check_recipe(Source("recipe.toml", written))
    assert (again.values["data"], again.values["freeze"]) == (odd, [odd])
    assert again.arguments["word"] == odd
    # TOML cannot express bytes that are not text; the rest of the recipe is written.
    written = recipe_text({"data": "a\udcff", "epochs": 3}, {})
    assert dict(check_recipe(Source("recipe.toml", written)).values) == {"epochs": 3}
    assert "# not UTF-8: data" in written


# ------------------------------------------------------------------------------- PyTorch's files


def data_pkl(tensor: bytes) -> bytes:
    return b"\x80\x02}" + text(b"a") + tensor + b"s."


def tensor(shape: bytes, strides: bytes, kind: bytes = b"FloatStorage", count: bytes = b"K\x04"):
    storage = (
        b"(" + text(b"storage") + b"ctorch\n" + kind + b"\n" + text(b"0") + text(b"cpu") + count
    )
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"tQK\x00" + shape + strides
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def archive(path: Path, pkl: bytes, compression=zipfile.ZIP_STORED, **records: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("w/data.pkl", pkl)
        for name, content in (records or {"0": bytes(16)}).items():
            file.writestr(f"w/data/{name.removeprefix('_')}", content)
    return path


FOUR, ONE = b"K\x04\x85", b"K\x01\x85"
HUGE = b"\x8a\x06\x00\x00\x00\x00\x00\x10"
CHECKPOINTS = {
    "stride 0": (tensor(HUGE + b"\x85", b"K\x00\x85"), "more numbers than"),
    "stride 0, in bfloat16": (
        tensor(HUGE + b"\x85", b"K\x00\x85", b"BFloat16Storage", b"K\x08"), "more numbers than",
    ),
    "beyond its storage": (tensor(b"K\x05\x85", ONE), "more numbers than"),
    "more than is stored": (tensor(FOUR, ONE, count=HUGE), "cut short"),
    "a negative size": (tensor(b"J\xff\xff\xff\xff\x85", ONE), "not a tuple of sizes"),
    "a size that is true": (tensor(b"\x88\x85", ONE), "not a tuple of sizes"),
    "long sizes": (tensor(b"(" + BIG * 1000 + b"t", b"(" + BIG * 1000 + b"t"), "not a tuple of sizes"),
    "many dimensions": (
        tensor(b"(" + b"K\x01" * 1000 + b"t", b"(" + b"K\x01" * 1000 + b"t"), "do not fit its shape",
    ),
    "complex": (tensor(FOUR, ONE, b"ComplexFloatStorage"), "not an ordinary tensor"),
    "of bits": (tensor(FOUR, ONE, b"Bits8Storage"), "not an ordinary tensor"),
    "a deeply nested key": (b"K\x01" + b"\x85" * 200_000 + b"K\x01s" + tensor(FOUR, ONE), "as keys"),
    "a deeply nested value": (b")" + b"\x85" * 200_000, "no tensors by name"),
    "a call": (b"cos\nsystem\nU\x04true\x85R", "no tensors by name"),
    "the calls of other things": (
        b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n(ctorch\nfloat4_e2m1fn_x2\nFOUR"[:-4]
        + FOUR + ONE + b"\x89tR", "not an ordinary tensor",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_tensor_of_a_checkpoint_is_no_more_than_its_storage(tmp_path, name) -> None:
    content, reason = CHECKPOINTS[name]
    path = archive(tmp_path / "w.pth", data_pkl(content))
    with refused("weights/bad-file", reason):
        load_weights(path)


def test_the_sound_tensor_of_these_tests_is_read(tmp_path) -> None:
    path = archive(tmp_path / "w.pth", data_pkl(tensor(FOUR, ONE)))
    assert load_weights(path).tensors["a"].tolist() == [0.0] * 4


def test_tensors_that_share_their_numbers_are_converted_once(tmp_path) -> None:
    """1,000 views of one storage are not copied 1,000 times, and 1,000 different ones are rejected."""
    count = 1_000_000
    number = b"J" + struct.pack("<i", count)

    def views(offset):
        body = b""
        for i in range(1000):
            size = b"J" + struct.pack("<i", count - i * offset) + b"\x85"
            body += text(b"a%d" % i) + tensor(size, ONE, b"BFloat16Storage", number)
        return b"\x80\x02}(" + body + b"u."

    path = archive(tmp_path / "w.pth", views(0), _0=bytes(2 * count))
    with within_bounds():
        assert len(load_pytorch(path).tensors) == 1000
    path = archive(tmp_path / "w.pth", views(1), _0=bytes(2 * count))
    with refused("weights/bad-file", "too often"):
        load_pytorch(path)


def test_a_compressed_record_is_not_unpacked(tmp_path) -> None:
    size = 120_000_000
    number = b"J" + struct.pack("<i", size // 4)
    pkl = data_pkl(tensor(number + b"\x85", ONE, count=number))
    path = archive(tmp_path / "w.pth", pkl, zipfile.ZIP_DEFLATED, _0=bytes(size))
    assert path.stat().st_size < 200_000
    with refused("weights/bad-file", "compressed", megabytes=80):
        load_weights(path)


def test_an_archive_of_millions_of_members_is_not_listed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(zip_archive, "MAX_DIRECTORY", 10_000)
    records = {str(i): b"" for i in range(1000)}
    for name in ("w.pth", "w.npz"):
        path = archive(tmp_path / name, data_pkl(tensor(FOUR, ONE)), **records)
        with refused("(weights|data)/bad-file", "list of members is too long"):
            load_weights(path) if name == "w.pth" else load(path)


ODD = {
    "meta": lambda torch: torch.zeros(3, device="meta"),
    "sparse": lambda torch: torch.eye(3).to_sparse(),
    "complex": lambda torch: torch.zeros(2, dtype=torch.complex64),
    "negative bit": lambda torch: torch.zeros(2, dtype=torch.complex64).conj().imag,
    "quantized": lambda torch: torch.quantize_per_tensor(torch.zeros(2), 1.0, 0, torch.qint8),
    "nested": lambda torch: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    "float8": lambda torch: torch.zeros(2).to(torch.float8_e4m3fn),
    "bits8": lambda torch: torch.zeros(2, dtype=torch.uint8).view(torch.bits8),
    "float4": lambda torch: torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
    "stride 0": lambda torch: torch.zeros(1).expand(10**12),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_pytorch_saves_of_other_tensors_is_an_ordinary_error(tmp_path, name, zipped) -> None:
    torch = pytest.importorskip("torch")
    try:
        torch.save(
            {"a": ODD[name](torch)}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped
        )
    except (AttributeError, RuntimeError, KeyError, TypeError, NotImplementedError):
        pytest.skip("this PyTorch cannot save one")
    with refused("weights/bad-file"):
        load_weights(tmp_path / "w.pth")


def saved_tensors(torch):
    base = torch.arange(24.0).reshape(4, 6)
    return {
        "transposed": base.T,
        "strided": base[1:, ::2],
        "one number": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.zeros(0, 3),
        "bool": torch.tensor([True, False]),
        "half": base.half(),
        "bfloat16": torch.tensor([1.0, float("nan"), -3e38]).bfloat16(),
        **{
            name: torch.tensor([-1, 3], dtype=getattr(torch, name))
            for name in ("int8", "int16", "int32", "int64")
        },
        "uint8": torch.tensor([200], dtype=torch.uint8),
        "parameter": torch.nn.Parameter(base),
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_is_read_as_pytorch_reads_it(tmp_path, zipped, protocol) -> None:
    torch = pytest.importorskip("torch")
    tensors = saved_tensors(torch)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 2)).sum().backward()
    optimizer.step()
    state = model.state_dict()
    whole = {"epoch": 3, "state_dict": state, "optimizer": optimizer.state_dict(), "args": Args()}
    for content, wanted in ((tensors, tensors), (state, state), (whole, state)):
        torch.save(
            content, tmp_path / "w.pth",
            _use_new_zipfile_serialization=zipped, pickle_protocol=protocol,
        )  # fmt: skip
        found = load_pytorch(tmp_path / "w.pth").tensors
        assert list(found) == list(wanted)
        for name, theirs in wanted.items():
            plain = theirs.detach()
            array = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array, equal_nan=array.dtype.kind == "f"), name


class Args:
    """A class that training scripts save besides weights. It must not be instantiated."""


def test_a_whole_model_is_told_from_its_state(tmp_path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 3), tmp_path / "w.pth")
    with refused("weights/bad-file", r"torch.nn.modules.linear.Linear, not a state dict"):
        load_weights(tmp_path / "w.pth")


# ------------------------------------------------------------------------------------ .npz, .npy


def npy(shape: str, content: bytes = b"", descr: str = "'<f4'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def npz(path: Path, members: dict[str, bytes], compression=zipfile.ZIP_DEFLATED) -> Path:
    good = {
        "x_train": npy("(2, 3)", bytes(24)), "y_train": npy("(2,)", bytes(2), "'|u1'"),
        "x_test": npy("(0, 3)"), "y_test": npy("(0,)", b"", "'|u1'"),
    }  # fmt: skip
    everything = {f"{name}.npy": content for name, content in good.items()} | members
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in everything.items():
            file.writestr(name, content)
    return path


def test_weights_in_an_archive_are_bounded_before_they_are_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "zeros.npz", a=np.zeros((700 << 20) // 4, "f4"))
    with refused("weights/bad-file", "no file of weights", megabytes=80):
        load_weights(tmp_path / "zeros.npz")
    np.savez(tmp_path / "many.npz", **{f"a{i}": np.zeros(1, "f4") for i in range(10_001)})
    with refused("weights/bad-file", "holds 10,001 arrays"):
        load_weights(tmp_path / "many.npz")
    np.savez_compressed(tmp_path / "good.npz", a=np.zeros(1 << 20, "f4"))
    assert load_weights(tmp_path / "good.npz").tensors["a"].shape == (1 << 20,)


def test_the_sound_archive_of_these_tests_is_read(tmp_path) -> None:
    assert load(npz(tmp_path / "a.npz", {})).x_train.shape == (2, 3)


def test_the_member_that_is_read_is_the_one_that_was_checked(tmp_path) -> None:
    """numpy.load prefers a member without the suffix, whatever the header of the other one says."""
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x_train", npy("(40000000,)", bytes(160_000_000)))
    with zipfile.ZipFile(npz(tmp_path / "b.npz", {})) as good, zipfile.ZipFile(path, "a") as file:
        for name in good.namelist():
            file.writestr(name, good.read(name))
    with within_bounds(megabytes=80):
        assert load(path).x_train.shape == (2, 3)


NPZ = {
    "counts that differ": {"x_train.npy": npy("(120000000,)", bytes(120_000_000), "'|u1'")},
    "counts of another test part": {"x_test.npy": npy("(9, 3)", bytes(108))},
    "that agree, in zeros alone": {
        "x_train.npy": npy("(2, 60000000)", bytes(120_000_000), "'|u1'"),
    },
    "rows of labels": {"y_train.npy": npy("(2, 30000000)", bytes(60_000_000), "'|u1'")},
    "labels that are few bytes": {
        "x_train.npy": npy("(30000000, 1)", bytes(30_000_000), "'|u1'"),
        "y_train.npy": npy("(30000000,)", bytes(30_000_000), "'|u1'"),
    },
    "no numbers of a huge size": {"x_test.npy": npy(f"(0, {10**30})")},
    "a size that is true": {"x_train.npy": npy("(True, 3)", bytes(12))},
    "a negative size": {"x_train.npy": npy("(-2, -3)", bytes(24))},
    "a size that is no number": {"x_train.npy": npy("('2', 3)", bytes(24))},
    "many sizes": {"x_train.npy": npy(f"({'1, ' * 3000})", bytes(4))},
    "arrays in an array": {"x_train.npy": npy("(2,)", bytes(24), "('<f4', (3,))")},
    "records": {"x_train.npy": npy("(2,)", bytes(24), "[('a', '<f4', (3,))]")},
    "values of no size": {"x_train.npy": npy("(2, 3)", b"", "'|V0'")},
    "a huge type": {"x_train.npy": npy("(2, 3)", b"", "'|S999999999'")},
    "a nested header": {"x_train.npy": npy("(" * 4000 + ")" * 4000)},
    "a nested sum": {"x_train.npy": npy("-" * 9000 + "1")},
    "a label of 2^40": {"y_train.npy": npy("(2,)", struct.pack("<2q", 0, 1 << 40), "'<i8'")},
    "no dimensions": {"x_train.npy": npy("()", bytes(4))},
}  # fmt: skip


@pytest.mark.parametrize("name", NPZ)
def test_a_member_takes_no_memory_before_it_is_sound(tmp_path, monkeypatch, name) -> None:
    monkeypatch.setattr(npy_members, "_SMALL", 1 << 26)
    path = npz(tmp_path / "a.npz", NPZ[name])
    with refused("data/(bad-file|shape)", megabytes=80):
        load(path)


def test_other_compressions_are_refused(tmp_path) -> None:
    """LZMA's decompressor allocates the memory that the file asks for."""
    with refused("data/bad-file", "not deflated"):
        load(npz(tmp_path / "a.npz", {}, zipfile.ZIP_LZMA))


@pytest.mark.parametrize(
    "name", [n for n in NPZ if "x_train.npy" in NPZ[n] and "y_train.npy" not in NPZ[n]]
)
def test_an_npy_file_is_held_against_its_size(tmp_path, name) -> None:
    path = tmp_path / "a.npy"
    content = NPZ[name]["x_train.npy"]
    if name in ("counts that differ", "that agree, in zeros alone"):
        content = content[:1000]
    path.write_bytes(content)
    if name == "no dimensions":
        assert open_npy(path).shape == ()
        return
    with refused("data/bad-file"):
        open_npy(path)


def test_labels_on_disk_are_counted_before_they_are_read(tmp_path) -> None:
    for name, content in (
        ("x_train", npy("(2, 3)", bytes(24))),
        ("y_train", npy("(3,)", bytes(12))),
    ):
        (tmp_path / f"{name}.npy").write_bytes(content)
    with refused("data/shape", "2 images but 3 labels"):
        load(tmp_path)


def test_there_is_an_end_to_classes() -> None:
    with refused("data/bad-file", "a label is 1099511627776"):
        Dataset("a", np.zeros((1, 2)), np.zeros(1, int), np.zeros((0, 2)), [], (1 << 40) + 1)


# ------------------------------------------------------------------------------------------- IDX


def idx(*sizes: int) -> bytes:
    return struct.pack(f">4B{len(sizes)}I", 0, 0, 8, len(sizes), *sizes)


def test_labels_of_idx_are_few(tmp_path) -> None:
    """Each label becomes eight bytes."""
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(idx(40_000_000) + bytes(40_000_000), 1))
    with refused("data/bad-file", "not a sensible size", megabytes=80):
        read_idx(path, 1)


def test_a_gzip_file_of_empty_members_is_not_gone_through(tmp_path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(b"") * 300_000 + gzip.compress(idx(1, 2, 2) + bytes(4)))
    with refused("data/bad-file", "continues after its end"):
        read_idx(path, 3)


# -------------------------------------------------------------------------------------- pictures


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(side: int, before: bytes = b"", after: bytes = b"", color: int = 2) -> bytes:
    row = bytes(1 + side * {0: 1, 2: 3, 6: 4}[color])
    header = struct.pack(">IIBBBBB", side, side, 8, color, 0, 0, 0)
    pixels = zlib.compress(row * side, 1)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", pixels) + after
        + chunk(b"IEND", b"")
    )  # fmt: skip


PROFILE = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(900_000)))
PNGS = {
    "many texts": png(8, chunk(b"tEXt", b"a\0b") * 100_000),
    "many parts of pixels": png(8, after=chunk(b"IDAT", b"") * 100_000),
    "many profiles": png(8, PROFILE * 500),
    "large texts": png(8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(900_000))) * 500),
    "cut short": png(8)[:45],
}


@pytest.mark.parametrize("name", PNGS)
def test_a_png_file_of_many_parts_is_refused(tmp_path, name) -> None:
    pytest.importorskip("PIL")
    path = tmp_path / "a.png"
    path.write_bytes(PNGS[name])
    with refused("data/bad-file"):
        read_picture(path)


def test_a_jpeg_file_of_many_scans_is_refused(tmp_path) -> None:
    """A scan of a few bytes decodes all pixels again."""
    image = pytest.importorskip("PIL.Image")
    buffer, path = io.BytesIO(), tmp_path / "a.jpg"
    image.new("RGB", (2000, 2000)).save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    path.write_bytes(whole[:-2] + scan * 1000 + whole[-2:])
    with refused("data/bad-file", "goes over its 4,000,000 pixels 1,010 times"):
        read_picture(path)
    path.write_bytes(whole[:2] + b"\xff\xfe\x00\x04ab" * 100_000 + whole[2:])
    with refused("data/bad-file", "more segments"):
        read_picture(path)
    path.write_bytes(whole)
    assert read_picture(path).shape == (3, 2000, 2000)


def test_a_picture_of_another_size_is_not_decoded(tmp_path) -> None:
    pytest.importorskip("PIL")
    path = tmp_path / "a.png"
    path.write_bytes(png(6000, color=0))
    start = time.process_time()
    with refused("data/shape", "6000 x 6000"):
        read_picture(path, 3, (32, 32))
    assert time.process_time() - start < 0.1


@pytest.mark.heavy
@pytest.mark.parametrize("rotated", [False, True])
def test_the_largest_pictures_take_no_more_than_they_may(tmp_path, monkeypatch, rotated) -> None:
    """A file that is as large as its pixels is gone once these are decoded."""
    image = pytest.importorskip("PIL.Image")
    from netspec.runtime.data import pictures

    exif, side = image.Exif(), 8000
    if rotated:
        exif[0x0112] = 6
    image.new("RGB", (side, side)).save(tmp_path / "a.png", compress_level=0, exif=exif)
    size = (tmp_path / "a.png").stat().st_size
    assert 3 * side * side < size < pictures.MAX_BYTES
    assert pictures.MAX_PIXELS / (side * side) < 1.01
    with within_bounds(MEGABYTES, seconds=20):
        assert read_picture(tmp_path / "a.png").shape == (3, side, side)
    monkeypatch.setattr(pictures, "MAX_PIXELS", side * side - 1)
    with refused("data/bad-file", "the limit is"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_a_picture_is_turned_and_read_in_bands_as_pillow_does(
    tmp_path, monkeypatch, orientation, mode
) -> None:
    image = pytest.importorskip("PIL.Image")
    ops = pytest.importorskip("PIL.ImageOps")
    from netspec.runtime.data import pictures

    monkeypatch.setattr(pictures, "_BAND", 20)
    shape = (6, 9, 3) if mode == "RGB" else (6, 9)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    exif = image.Exif()
    exif[0x0112] = orientation
    shown = image.fromarray(pixels)
    stored = image.fromarray(pixels * np.uint16(256) + np.uint16(77)) if mode == "I;16" else shown
    assert stored.mode == mode
    stored.save(tmp_path / "a.png", exif=exif)
    shown.getexif()[0x0112] = orientation
    turned = ops.exif_transpose(shown).convert("RGB")
    assert np.array_equal(
        read_picture(tmp_path / "a.png", 3).transpose(1, 2, 0), np.asarray(turned)
    )
    smaller = np.asarray(turned.resize((4, 3), image.Resampling.BILINEAR))
    found = read_picture(tmp_path / "a.png", 3, (3, 4), resize=True)
    assert np.array_equal(found.transpose(1, 2, 0), smaller)


# ----------------------------------------------------------------------------- safetensors, JSON


def safetensors(path: Path, header: object, content: bytes = b"") -> Path:
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + content)
    return path


ENTRY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
HEADERS = {
    "tensors": {str(i): ENTRY for i in range(3000)},
    "dimensions": {"a": {"dtype": "F32", "shape": [1] * 30_000, "data_offsets": [0, 4]}},
    "metadata": {"__metadata__": {str(i): "" for i in range(30_000)}},
    "lists in metadata": {"__metadata__": {"netspec": "[" + "[]," * 30_000 + "[]]"}},
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_a_program_with_numpy_alone_bounds_it_too(tmp_path, monkeypatch, name) -> None:
    monkeypatch.setattr(safetensors_header, "MAX_ITEMS", 20_000)
    path = safetensors(tmp_path / "w.safetensors", HEADERS[name], bytes(4))
    with pytest.raises(ValueError, match="more items"), within_bounds():
        weights_file.read_tensors(path)
    sizes = {"a": {"dtype": "F32", "shape": [10**4000] * 1000, "data_offsets": [0, 4]}}
    with pytest.raises(ValueError, match="no list of sizes"), within_bounds():
        weights_file.read_tensors(safetensors(path, sizes, bytes(4)))


@pytest.mark.parametrize("name", HEADERS)
def test_the_header_of_a_safetensors_file_is_bounded_before_it_is_parsed(
    tmp_path, monkeypatch, name
) -> None:
    monkeypatch.setattr(safetensors_header, "MAX_ITEMS", 20_000)
    path = safetensors(tmp_path / "w.safetensors", HEADERS[name], bytes(4))
    with refused("weights/bad-file", "more items"):
        load_weights(path)


def test_the_shape_of_a_normalization_is_not_multiplied_without_end() -> None:
    sizes = {"shape": [10**4000] * 400, "data": base64.b64encode(bytes(4)).decode()}
    with refused("weights/bad-file", "not a list of sizes"):
        normalization_from_json(json.dumps({"kind": "unit", "mean": sizes, "scale": sizes}))


def test_names_without_end_are_told_in_short(tmp_path) -> None:
    names = {f"{i}{'x' * 1000}": np.zeros(1) for i in range(20_000)}
    with refused("weights/mismatch", "20001 tensors differ"):
        check_tensors(names, {"a": (1,)})

    class Model:
        def state_dict(self):
            return {"a": np.zeros(1)}

    with refused("weights/mismatch", "nothing in the weights"):
        start_from(Model(), {"x" * 1_000_000: np.zeros(1)})


def test_a_run_is_no_more_json_than_a_run_writes(tmp_path) -> None:
    (tmp_path / "run.json").write_text("[" + "[]," * 1_000_000 + "[]]")
    with refused("run/damaged", "larger than"):
        RunFolder(tmp_path).facts()
    (tmp_path / "metrics.jsonl").write_text('{"kind": [' + "[]," * 1_000_000 + "[]]}\n")
    with refused("run/damaged", "line 1: it is longer"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("name", ["options", "data", "arguments"])
def test_the_facts_of_a_run_do_not_nest_deep(run: Run, tmp_path, name) -> None:
    (tmp_path / "a.net").write_text(NET)
    options = ("--epochs", "1", "--train-limit", "16", "--quiet", "--out", tmp_path / "run")
    assert run("train", tmp_path / "a.net", *options).code == 0
    path = tmp_path / "run" / "run.json"
    facts = json.loads(path.read_text())
    for depth, wanted in ((30, "fit"), (600, "nests deeper")):
        nested: object = 1
        for _ in range(depth):
            nested = [nested] if depth % 2 else {"a": nested}
        path.write_text(json.dumps({**facts, name: {**facts[name], "test": nested}}))
        finished = run("train", "--resume", tmp_path / "run", "--epochs", "2", "--quiet")
        assert finished.code < 3, finished.err[-500:]
        assert wanted == "fit" or wanted in finished.err
        assert len(finished.err) < 5000


NET = """
net Small(classes = 10) {
    input image: [64]

    output image -> linear(classes)
}
"""


def test_tables_of_the_grammar_that_are_sound_json_are_built_anew(tmp_path, monkeypatch) -> None:
    from netspec.compiler.parse import tables

    monkeypatch.setattr(tables, "cache_folder", lambda: tmp_path)
    tables.load_tables()
    (path,) = tmp_path.iterdir()
    for before, after in (
        (b'"start": ', b'"start": 9'), (b'"states": [{', b'"states": [{"NAME": 99999, '),
        (b'"rules": [', b'"rules": [["x", -3, [9], true], '),
    ):  # fmt: skip
        damaged = path.read_bytes().replace(before, after, 1)
        path.write_bytes(damaged)
        found = tables.load_tables()
        assert damaged != path.read_bytes()
        assert found.start < len(found.states)
        assert tables.load_tables().states == found.states


def test_a_pickle_is_no_state_dict(tmp_path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(pickle.dumps({"a": 1}, 2))
    with refused("weights/bad-file", "not a file written by torch.save"):
        load_weights(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """8 GB that take no room on the disk took 2.4 GB of memory before `import onnx` refused them."""
    path = tmp_path / "sparse.onnx"
    with path.open("wb") as file:
        file.truncate(8 << 30)
    tracemalloc.start()
    try:
        with pytest.raises(OSError, match="larger than 100,000,000 bytes"):
            read_regular(path, 100_000_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


# Hundreds of megabytes that take no room on the disk. Reading them would take as much memory.
HUGE = 700 << 20


def make_huge(path: Path) -> None:
    """Let a file end in `HUGE` zeros."""
    with path.open("ab") as file:
        file.truncate(HUGE)


@pytest.mark.parametrize("name", ["metrics.jsonl", "net/a.net", "recipe.toml", "run.json"])
@pytest.mark.parametrize("verb", ["runs", "resume", "plot"])
def test_no_file_of_a_run_is_read_beyond_its_size(
    run: Run, tmp_path: Path, name: str, verb: str
) -> None:
    (tmp_path / "a.net").write_text(NET)
    options = ("--epochs", "1", "--train-limit", "16", "--quiet", "--out", tmp_path / "run")
    assert run("train", tmp_path / "a.net", *options).code == 0
    make_huge(tmp_path / "run" / name)
    given = {
        "runs": ("runs", tmp_path / "run"),
        "resume": ("train", tmp_path / "a.net", "--resume", tmp_path / "run", "--epochs", "2"),
        "plot": ("plot", tmp_path / "run", "-o", tmp_path / "p.csv"),
    }
    with within_bounds(seconds=10):
        finished = run(*given[verb])
    assert finished.code in (0, 1, 2)
    assert "internal error" not in finished.err
    assert "out of memory" not in finished.err


def test_no_file_of_a_sweep_is_read_beyond_its_size(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.net").write_text(NET)
    (tmp_path / "s.toml").write_text(
        'seed = [0]\nepochs = 1\ntrain-limit = 16\n[sweep]\nnet = "a.net"\n'
    )
    assert run("sweep", "s.toml", "--jobs", "1").code == 0
    out = tmp_path / "runs/s"
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        if path.suffix in (".safetensors", ".net"):
            continue
        before = path.read_bytes()
        make_huge(path)
        with within_bounds(seconds=10):
            finished = run("sweep", "s.toml", "--jobs", "1")
        assert finished.code in (0, 1, 2), path
        assert "internal error" not in finished.err, path
        assert "out of memory" not in finished.err, path
        path.write_bytes(before)
