"""Data sets: reading, look-up, and what happens when a file is not what it claims to be."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import http.server
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.diagnostics import NetspecError
from netspec.files.plain_pickle import PickleRefusedError
from netspec.runtime.data import Dataset, cifar, digits, files, idx, load
from netspec.runtime.data.cifar_pickle import load_dict
from netspec.runtime.data.digits import load_digits
from netspec.runtime.runs.folder import fingerprint
from tests.helpers.errors import fails

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "unpack"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and no network."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(files.CACHE_VARIABLE, str(folder))

    def refuse(name, sha256, urls, folder):
        raise files.DownloadError(f"{urls[0]}: no connection")

    monkeypatch.setattr(idx, "download", refuse)
    monkeypatch.setattr(cifar, "download", refuse)
    return folder


def dataset(**changes):
    fields = {
        "name": "made",
        "x_train": np.arange(4 * 12, dtype=np.uint8).reshape(4, 3, 2, 2),
        "y_train": np.array([0, 1, 2, 0]),
        "x_test": np.zeros((2, 3, 2, 2), np.uint8),
        "y_test": np.array([1, 2]),
        "classes": 3,
    }
    return Dataset(**{**fields, **changes})


# ------------------------------------------------------------------------------------- the data set


def test_dataset_splits_the_last_images_off_and_then_limits():
    rest, x_val, y_val = dataset().split(1)
    assert len(rest.x_train) == 3
    assert y_val.tolist() == [0]
    assert x_val[0, 0, 0, 0] == 36
    assert rest.limit(2).y_train.tolist() == [0, 1]
    assert rest.limit(99).y_train.tolist() == rest.limit(None).y_train.tolist() == [0, 1, 2]


def test_dataset_is_flattened_for_a_flat_input_and_never_resized():
    assert dataset().fit_to((12,)).x_train[1].tolist() == list(range(12, 24))
    with fails("data/shape", r"\[3, 2, 2\]", r"\[3, 4, 4\]"):
        dataset().fit_to((3, 4, 4))
    nhwc = dataset(x_train=np.zeros((4, 2, 2, 3)), x_test=np.zeros((0, 2, 2, 3)), y_test=[])
    with fails("data/shape", "transpose"):
        nhwc.fit_to((3, 2, 2))


@pytest.mark.parametrize(
    ("changes", "code", "part"),
    [
        ({"y_train": np.array([0, 1, 2])}, "data/shape", "4 images but 3 labels"),
        ({"y_train": np.array([0, 1, 3, 0])}, "data/bad-file", "from 0 to 3"),
        ({"y_train": np.array([0, 1, -1, 0])}, "data/bad-file", "from -1 to 1"),
        ({"y_train": np.zeros(4)}, "data/shape", "whole numbers"),
        ({"y_train": np.zeros((4, 2), int)}, "data/shape", "targets of a test image"),
        ({"y_train": [-100] * 4, "y_test": [-100] * 2}, "data/shape", "no label counts"),
        ({"x_train": np.full((4, 3, 2, 2), np.nan)}, "data/bad-file", "NaN"),
        ({"x_test": np.zeros((2, 3, 2, 5))}, "data/shape", r"\[3, 2, 5\]"),
        ({"x_train": np.zeros((4, 3, 2, 2), object)}, "data/shape", "object"),
        ({"x_train": np.zeros((4, 3, 2))}, "data/shape", r"a training image \[3, 2\]"),
        ({"x_train": np.zeros(4)}, "data/shape", "N, C, H, W"),
        ({"x_train": np.zeros((4, 0, 2, 2))}, "data/shape", "no data: x_train is"),
        ({"classes": 0}, "data/shape", "at least 1"),
    ],
)
def test_dataset_checks_itself(changes, code, part):
    with fails(code, part):
        dataset(**changes)


def test_dataset_options_out_of_range():
    for val in (-1, 4):
        with fails("train/bad-option", "val"):
            dataset().split(val)
    with fails("train/bad-option", "train_limit"):
        dataset().limit(0)
    dataset().check_classes(5)
    with fails("data/shape", "3 classes", "2 outputs"):
        dataset().check_classes(2)


# ------------------------------------------------------------------------------------------- digits


def test_digits_have_the_shape_asked_for_and_always_the_same_split():
    small, large = load("digits"), load("digits", None, (3, 32, 20))
    assert small.x_train.shape == (1437, 1, 8, 8)
    assert large.x_train.shape == (1437, 3, 32, 20)
    assert large.x_test.shape == (360, 3, 32, 20)
    assert large.x_train.dtype == np.uint8
    assert large.x_train.max() == 255
    assert (large.x_train[:, 0] == large.x_train[:, 2]).all()
    assert (large.y_test == small.y_test).all()
    assert np.bincount(large.y_test).min() >= 34  # stratified: a tenth each
    assert (load("digits", None, (64,)).x_train[5] == small.x_train[5].ravel()).all()


@pytest.mark.parametrize("shape", [(10,), (1, 0, 8), (1, 1, 2, 2), (1, 10**6, 10**6)])
def test_digits_refuse_what_is_no_picture(shape):
    with fails("data/shape"):
        load_digits(shape)


# The checksums of the digits that runs of netspec 0.1 were trained on. Such a run is only resumed
# on equal data.
@pytest.mark.parametrize(
    ("shape", "sha256"),
    [
        ((1, 28, 28), "0ef775a03fa030744ee2f6ebc64b324c9845d1a075e70d52860f29be410d4f79"),
        ((3, 32, 32), "71926ffc69ad4d84cd90f9902e6884cc9b032532b58cf2e02c08052ec240ccf4"),
        ((64,), "6e3e801b01bdd9c1966bebe0b0bca2db959335c6c433c552cf5c1854054c1303"),
    ],
)
def test_runs_from_before_the_digits_were_shipped_find_their_data(shape, sha256):
    found = fingerprint(load_digits(shape))
    assert found == {"name": "digits", "train": 1437, "test": 360, "sha256": sha256}


def test_the_digits_are_those_of_scikit_learn_in_its_split():
    datasets = pytest.importorskip("sklearn.datasets")
    selection = pytest.importorskip("sklearn.model_selection")
    theirs = datasets.load_digits()
    train, test = selection.train_test_split(
        np.arange(len(theirs.target)), test_size=360, random_state=0, stratify=theirs.target
    )
    images, labels = digits._stored()
    order = np.concatenate([train, test])
    assert (images == theirs.images[order]).all()
    assert (labels == theirs.target[order]).all()


@pytest.mark.parametrize("size", [(1, 1), (5, 31), (7, 7), (8, 8), (28, 28), (40, 40), (64, 96)])
def test_digits_are_resized_as_by_scipy(size):
    zoom = pytest.importorskip("scipy.ndimage").zoom
    images, _ = digits._stored()
    height, width = size
    expected = [
        np.rint(zoom(image, (height / 8, width / 8), order=1, mode="nearest", grid_mode=True))
        for image in images * (255 / 16)
    ]
    assert (digits._resize(images, height, width) == expected).all()


# ------------------------------------------------------------------------------------ IDX (MNIST)


def idx_bytes(array, claimed=None):
    shape = array.shape if claimed is None else claimed
    return struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape) + array.tobytes()


def write_mnist(folder: Path, zipped: bool, side: int = 28) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", 6), ("t10k", 2)):
        images = np.full((count, side, side), count, np.uint8)
        labels = np.arange(count, dtype=np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx_bytes(array)
            path = folder / f"{part}-{name}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(content, mtime=0) if zipped else content)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("mnist", "MNIST/raw"),
        ("fashion-mnist", "FashionMNIST/raw"),
        ("mnist", "mnist"),
        ("mnist", ""),
    ],
)
def test_idx_is_found_where_it_usually_lies(tmp_path, name, place, zipped):
    write_mnist(tmp_path / place, zipped)
    data = load(name, tmp_path, (1, 28, 28))
    assert data.x_train.shape == (6, 1, 28, 28)
    assert data.y_test.tolist() == [0, 1]
    assert data.classes == 10


def test_idx_is_found_in_the_cache(cache):
    write_mnist(cache / "MNIST/raw", zipped=True)
    assert len(load("mnist").x_train) == 6


def test_missing_files_are_named_with_every_place(tmp_path):
    with fails(
        "data/missing-file",
        "train-images-idx3-ubyte, .*t10k-labels-idx1-ubyte",
        str(tmp_path / "MNIST"),
        "cache/MNIST/raw",
        "no connection",
    ):
        load("mnist", tmp_path)
    with fails("data/missing-file", "data_batch_3", "cifar-10-batches-py"):
        load("cifar10", tmp_path)
    with fails("data/missing-file", "nowhere does not exist"):
        load("mnist", tmp_path / "nowhere")


def test_mnist_is_not_resized(tmp_path):
    write_mnist(tmp_path, zipped=False)
    with fails("data/shape", r"\[1, 28, 28\]", r"\[3, 32, 32\]"):
        load("mnist", tmp_path, (3, 32, 32))


IMAGES = np.zeros((2, 3, 3), np.uint8)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x08", "not an IDX file"),
        (idx_bytes(IMAGES)[:9], "cut short inside its header"),
        (idx_bytes(IMAGES[0]), "not an IDX file"),
        (idx_bytes(IMAGES)[:-1], "promises 34 bytes, the file has 33"),
        (idx_bytes(IMAGES) + b"x", "promises 34 bytes, the file has 35"),
        (idx_bytes(IMAGES, (2**32 - 1,) * 3), "not a sensible size"),
        (idx_bytes(IMAGES, (0, 3, 3)), "not a sensible size"),
        (gzip.compress(idx_bytes(IMAGES), mtime=0)[:-9], "cannot be read"),
        (gzip.compress(idx_bytes(IMAGES) + b"x", mtime=0), "has more"),
        (gzip.compress(idx_bytes(IMAGES, (200, 1000, 1000)), mtime=0), "only 18"),
        (b"\x1f\x8bgarbage", "cannot be read"),
    ],
)
def test_idx_that_lies_is_refused(tmp_path, content, reason):
    path = tmp_path / "file"
    path.write_bytes(content)
    with fails("data/bad-file", reason):
        idx.read_idx(path, 3)


def test_gzip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(idx_bytes(IMAGES))
        for _ in range(64):
            stream.write(bytes(1 << 20))
    with fails("data/bad-file", "has more"):
        idx.read_idx(path, 3)


# ------------------------------------------------------------------------------------- CIFAR-10


def old_pickle(count: int) -> bytes:
    """Return a batch as Python 2 wrote the official ones: with str for bytes, in protocol 2."""
    pixels = (np.arange(count * 3072) % 251).astype(np.uint8).tobytes()

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    labels = b"".join(b"K" + bytes([i % 10]) for i in range(count))
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
        b"(K\x01K" + bytes([count]) + b"M\x00\x0c\x86cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01"
        b"\x87R(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"T" + struct.pack("<I", len(pixels)) + pixels + b"tb"
    )
    return (
        b"\x80\x02}q\x01(" + text(b"labels") + b"](" + labels + b"e" + text(b"data") + array + b"u."
    )


def new_pickle(count: int, protocol: int, **extra) -> bytes:
    data = (np.arange(count * 3072) % 251).astype(np.uint8).reshape(count, 3072)
    return pickle.dumps({"data": data, "labels": [i % 10 for i in range(count)], **extra}, protocol)


@pytest.mark.parametrize(
    "content", [old_pickle(3), new_pickle(3, 2), new_pickle(3, 3), new_pickle(3, 4)]
)
def test_cifar_batches_are_read(tmp_path, content):
    for name in (*cifar.TRAIN_BATCHES, cifar.TEST_BATCH):
        path = tmp_path / "cifar-10-batches-py" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    data = load("cifar10", tmp_path, (3, 32, 32))
    assert data.x_train.shape == (15, 3, 32, 32)
    assert data.x_test[1, 0, 0, :3].tolist() == [(3072 + i) % 251 for i in range(3)]
    assert data.y_train[:4].tolist() == [0, 1, 2, 0]


class Calls:
    """An object whose pickle is a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def witness(tmp: Path) -> str:
    return str(tmp / "hostile-code-ran")


HOSTILE = {
    "os.system": lambda tmp: pickle.dumps(Calls(os.system, f"touch {witness(tmp)}")),
    "eval": lambda tmp: pickle.dumps(Calls(eval, f"open({witness(tmp)!r}, 'w')")),
    "Popen": lambda tmp: pickle.dumps(Calls(subprocess.Popen, ["touch", witness(tmp)])),
    "numpy gadget": lambda tmp: pickle.dumps(Calls(np.save, witness(tmp), 1)),
    "numpy.load": lambda tmp: pickle.dumps(Calls(np.load, witness(tmp), None, True)),
    "in a batch": lambda tmp: new_pickle(1, 4, more=Calls(os.system, f"touch {witness(tmp)}")),
    "getattr": lambda tmp: pickle.dumps(Calls(getattr, "", "join")),
    "object array": lambda tmp: pickle.dumps({"data": np.array([Calls(os.getpid)], object)}, 2),
    "persistent id": lambda tmp: b"\x80\x02Xx\n.",
    "inst": lambda tmp: b"(S'touch x'\nios\nsystem\n.",
    "obj": lambda tmp: b"(cos\nsystem\nS'touch x'\no.",
    "newobj": lambda tmp: b"\x80\x02cbuiltins\nobject\n)\x81.",
    "extension": lambda tmp: b"\x80\x02\x82\x01.",
    "codec with side effects": lambda tmp: pickle.dumps(
        Calls(__import__("codecs").encode, "x", "zip"), 2
    ),
    "dtype of objects": lambda tmp: b"\x80\x02cnumpy\ndtype\nU\x01OK\x00K\x01\x87R.",
    "list state": lambda tmp: b"\x80\x02]}b.",
    "attributes of a name": lambda tmp: b"\x80\x02cos\nsystem\n}b.",
    "huge memo": lambda tmp: b"\x80\x02}r\xff\xff\xff\xff.",
    "huge string": lambda tmp: b"\x80\x02T\xff\xff\xff\x7fabc.",
    "huge array": lambda tmp: old_pickle(3).replace(b"M\x00\x0c", b"M\xff\xff"),
    "nested": lambda tmp: b"\x80\x02}" + b")" + b"\x85" * 300_000 + b"Ns.",
    "many operations": lambda tmp: b"\x80\x02" + b"(" * 500_000 + b".",
    "empty stack": lambda tmp: b"\x80\x02u.",
    "truncated": lambda tmp: old_pickle(3)[:-50],
    "not a pickle": lambda tmp: b"hello",
    "empty": lambda tmp: b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_run_nothing(tmp_path, name):
    path = tmp_path / "data_batch_1"
    path.write_bytes(HOSTILE[name](tmp_path))
    with fails("data/bad-file", "CIFAR-10"):
        cifar.read_batch(path)
    assert not Path(witness(tmp_path)).exists()


# Decoding an old text opcode's escapes can warn.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@settings(max_examples=150)
@given(st.binary(max_size=60), st.integers(0, 120), st.booleans())
def test_damaged_pickles_are_refused_in_an_ordinary_way(noise, at, replace):
    content = old_pickle(1)
    content = content[:at] + noise + content[at + (len(noise) if replace else 0) :]
    with contextlib.suppress(PickleRefusedError):
        load_dict(content)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": [1]}, "list of 2 labels"),
        ({"labels": [1, 11]}, "0 to 9"),
        ({"labels": [1, "2"]}, "0 to 9"),
        ({"labels": None}, "list of 2 labels"),
        ({"data": np.zeros((2, 3071), np.uint8)}, "3072 columns"),
        ({"data": [1]}, "3072 columns"),
    ],
)
def test_batches_of_other_contents_are_refused(tmp_path, change, reason):
    path = tmp_path / "batch"
    path.write_bytes(new_pickle(2, 4, **change))
    with fails("data/bad-file", reason):
        cifar.read_batch(path)


def test_archive_is_unpacked_by_expected_names_only(tmp_path):
    archive, folder = tmp_path / "a.tar.gz", tmp_path / "root" / "cifar-10-batches-py"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("cifar-10-batches-py/data_batch_1", "../escaped", "/abs", "other/test_batch"):
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("cifar-10-batches-py/data_batch_2")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    cifar.unpack(archive, folder)
    found = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {"a.tar.gz", "root/cifar-10-batches-py/data_batch_1"}


@pytest.fixture
def server(tmp_path):
    """Return a folder, and the address at which this machine serves it."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


def test_cifar_is_downloaded_once(server, cache, monkeypatch):
    folder, address = server
    with tarfile.open(folder / "a.tar.gz", "w:gz") as tar:
        for name in (*cifar.TRAIN_BATCHES, cifar.TEST_BATCH):
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            content = old_pickle(2)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    sha256 = hashlib.sha256((folder / "a.tar.gz").read_bytes()).hexdigest()
    monkeypatch.setattr(cifar, "download", files.download)
    monkeypatch.setattr(cifar, "_SHA256", sha256)
    monkeypatch.setattr(cifar, "_URLS", (address + "none.tar.gz", address + "a.tar.gz"))
    assert len(load("cifar10").x_train) == 10
    (folder / "a.tar.gz").unlink()
    assert len(load("cifar10").x_train) == 10
    assert [path.name for path in cache.iterdir()] == ["cifar-10-batches-py"]


def test_download_of_other_contents_is_refused_and_not_kept(server, tmp_path):
    folder, address = server
    (folder / "file").write_bytes(b"not what was promised")
    with pytest.raises(files.DownloadError, match=r"(?s)file: .*hash"):
        files.download("file", "0" * 64, [address + "file"], tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


# -------------------------------------------------------------------------------------------- npz


def write_npz(path: Path, **changes) -> Path:
    arrays = {
        "x_train": np.random.default_rng(0).random((5, 4, 4), np.float32),
        "y_train": np.array([[0], [1], [2], [3], [0]]),
        "x_test": np.zeros((1, 4, 4), np.float32),
        "y_test": np.array([[4]]),
        **changes,
    }
    np.savez_compressed(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def test_npz_with_keras_shapes(tmp_path):
    data = load(str(write_npz(tmp_path / "mine.npz")), None, (1, 4, 4))
    assert data.name == "mine"
    assert data.x_train.shape == (5, 1, 4, 4)
    assert data.y_train.tolist() == [0, 1, 2, 3, 0]
    assert data.classes == 5


def test_npz_without_an_array_or_with_pickles_is_refused(tmp_path):
    with fails("data/bad-file", "has no y_test"):
        load(str(write_npz(tmp_path / "a.npz", y_test=None)))
    objects = np.array([Calls(os.getpid)] * 5, object)
    with fails("data/bad-file", "pickled objects"):
        load(str(write_npz(tmp_path / "b.npz", x_train=objects)))
    with fails("data/missing-file", "no such file"):
        load(str(tmp_path / "c.npz"))


def test_npz_that_lies_about_its_size_is_refused(tmp_path):
    path = write_npz(tmp_path / "a.npz")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    shape = b"(5, 4, 4), }"
    assert shape in members["x_train.npy"]
    lie = b"(5, 99999999999, 4), }"
    padded = shape.ljust(len(lie))
    members["x_train.npy"] = members["x_train.npy"].replace(padded, lie)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with fails("data/bad-file", "x_train.npy should have"):
        load(str(path))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 100, pickle.dumps([1])])
def test_npz_that_is_none_is_refused(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with fails("data/bad-file"):
        load(str(path))
    whole = write_npz(tmp_path / "b.npz")
    whole.write_bytes(whole.read_bytes()[:300])
    with fails("data/bad-file"):
        load(str(whole))


# ------------------------------------------------------------------------------- names, real data


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("digit", "digits"),
        ("MNIST", "mnist"),
        ("fashion_mnist", "fashion-mnist"),
        ("cifar-10", "cifar10"),
    ],
)
def test_misspelt_name_says_what_was_meant(name, meant):
    with fails(
        "data/unknown-name", "digits, mnist, fashion-mnist, cifar10", f"did you mean `{meant}`"
    ):
        load(name)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    if not REAL.is_file():
        pytest.skip(f"the real data sets are not at {REAL}")
    folder = tmp_path_factory.mktemp("real")
    result = subprocess.run(
        [sys.executable, str(REAL), str(folder), "mnist", "cifar10"],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        pytest.skip(f"the real data sets could not be unpacked: {result.stderr[-300:]}")
    return folder


def test_real_files_are_read(real):
    mnist, cifar10 = load("mnist", real, (1, 28, 28)), load("cifar10", real, (3, 32, 32))
    assert mnist.x_train.shape == (60000, 1, 28, 28)
    assert mnist.y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert cifar10.x_train.shape == (50000, 3, 32, 32)
    assert np.bincount(cifar10.y_train).tolist() == [5000] * 10
    # The channel means that everyone uses for CIFAR-10: 0.4914, 0.4822, 0.4465.
    means = cifar10.x_train[:, :, ::2, ::2].mean(axis=(0, 2, 3)) / 255
    assert np.allclose(means, [0.4914, 0.4822, 0.4465], atol=2e-3)


# ------------------------------------------------------------------------ folders near the named one


def _fashion(folder: Path) -> Path:
    """Write a data set of a few pictures as Fashion-MNIST's files."""
    folder.mkdir(parents=True)
    for name, count in (("train", 12), ("t10k", 4)):
        pictures = struct.pack(">4i", 2051, count, 28, 28) + bytes(count * 784)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(pictures)
        labels = struct.pack(">2i", 2049, count) + bytes(range(count // 2)) * 2
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(labels)
    return folder


@pytest.mark.parametrize("named", ["", "FashionMNIST", "FashionMNIST/raw", "MNIST", ".."])
def test_files_are_found_in_folders_near_the_named_one(
    named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _fashion(tmp_path / "data/FashionMNIST/raw")
    (tmp_path / "data/MNIST/raw").mkdir(parents=True)
    data = load("fashion-mnist", tmp_path / "data" / named)
    assert len(data.x_train) == 12
    assert capsys.readouterr().err == ""


def test_files_of_another_data_set_are_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files of MNIST and Fashion-MNIST have the same names."""
    _fashion(tmp_path / "data/MNIST/raw")
    with fails("data/missing-file"):
        load("fashion-mnist", tmp_path / "data/MNIST")
    told = capsys.readouterr().err
    assert told.startswith(f"note: {tmp_path}/data/MNIST does not hold the files of fashion-mnist")
    assert "train-images-idx3-ubyte" in told


@pytest.mark.parametrize("cached", [False, True])
def test_the_labels_say_which_of_two_data_sets_the_files_are(
    cached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real Fashion-MNIST under any name of a folder is not trained as MNIST."""
    labels = bytes(range(6)) * 2
    known = replace(idx.SOURCES["fashion-mnist"], labels_sha256=hashlib.sha256(labels).hexdigest())
    monkeypatch.setitem(idx.SOURCES, "fashion-mnist", known)
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path))
    folder = _fashion(tmp_path / "MNIST/raw")
    with fails("data/bad-file", f"{folder} holds the files of fashion-mnist, not of mnist"):
        load("mnist", None if cached else folder)
    assert len(load("fashion-mnist", folder).x_test) == 4  # whatever its folder is called


@pytest.mark.parametrize("named", ["MNIST/raw", "mnist"])
def test_the_name_of_a_folder_says_which_files_it_holds(named: str, tmp_path: Path) -> None:
    folder = _fashion(tmp_path / named)
    with pytest.raises(NetspecError) as caught:
        load("fashion-mnist", folder)
    (error,) = caught.value.diagnostics
    assert f"{folder} holds the files of mnist, not of fashion-mnist" in error.message
    assert error.hints[0].text.startswith("`--data mnist`")


@pytest.mark.parametrize("name", idx.SOURCES)
def test_the_known_labels_are_those_of_the_files(name: str) -> None:
    path = REAL.parent / name / "train-labels-idx1-ubyte.gz"
    if not path.is_file():
        pytest.skip(f"{name} is not here")
    labels = idx.read_idx(path, 1)
    assert hashlib.sha256(labels.tobytes()).hexdigest() == idx.SOURCES[name].labels_sha256


@pytest.mark.parametrize(
    ("below", "named", "meant"),
    [
        ("FashionMNIST/raw", "FashionMNIST", "fashion-mnist"),
        ("FashionMNIST/raw", "FashionMNIST/raw", "fashion-mnist"),
        ("MNIST/raw", "MNIST", "mnist"),
        ("files", "files", "mnist"),
    ],
)
def test_a_folder_of_known_files_as_data_says_their_name(
    below: str, named: str, meant: str, tmp_path: Path
) -> None:
    _fashion(tmp_path / below)
    folder = tmp_path / named
    with pytest.raises(NetspecError) as caught:
        load(folder)
    (error,) = caught.value.diagnostics
    assert error.hints[0].text == f"--data {meant} --data-dir {folder}"
    assert len(load(meant, folder).x_test) == 4
