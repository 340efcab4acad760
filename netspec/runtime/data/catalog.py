"""Data sets by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.arrays import holds_arrays, load_arrays
from netspec.runtime.data.choices import check_name, require
from netspec.runtime.data.cifar import FOLDER as CIFAR
from netspec.runtime.data.cifar import TEST_BATCH, load_cifar10
from netspec.runtime.data.dataset import IGNORED, Dataset
from netspec.runtime.data.digits import load_digits
from netspec.runtime.data.factory import file_of, is_factory, load_factory, refuse_unasked
from netspec.runtime.data.idx import NAMES as IDX
from netspec.runtime.data.idx import SOURCES, load_idx
from netspec.runtime.data.image_folder import is_image_folder, load_image_folder
from netspec.runtime.data.npz import load_npz
from netspec.runtime.data.pictures import Resize
from netspec.runtime.data.shard_names import is_shards, is_web
from netspec.runtime.data.shards import load_shards
from netspec.runtime.data.text import SUFFIX, load_text
from netspec.runtime.data.vocabulary import Vocabulary

NAMES = ("digits", *SOURCES, "cifar10")


def load(
    name: str | Path,
    data_dir: str | Path | None = None,
    input_shape: tuple[int, ...] | None = None,
    *,
    resize: Resize = False,
    on_demand: bool = False,
    ignore_index: int = IGNORED,
    tokens: str = "char",
    vocabulary: Vocabulary | None = None,
    code: bool = False,
) -> Dataset:
    """Load a data set and fit it to a network's input.

    Files are looked for in `data_dir` (with torchvision's layout: MNIST/raw, FashionMNIST/raw,
    cifar-10-batches-py; or in a folder of the data set's name; or directly; or in such a place one
    folder further up or down), then in the user's
    cache folder (`NETSPEC_DATA_DIR` overrides it). Missing files are downloaded there once and
    checked against their SHA-256.

    Args:
        name: One of `NAMES`, or a path: of an `.npz` file, of a text in a `.txt` file (see
            `load_text`), of archives of pictures, such as `train-{000000..000146}.tar`, which may be an
            address on the web (see `load_shards`), of a folder with a folder of pictures
            for each class (see `load_image_folder`), or of a folder with `x_train.npy` and
            `y_train.npy`, which are read as needed (see `load_arrays`).
        data_dir: Where to look first.
        input_shape: (C, H, W) or (F,) of the network's input. Only `digits` is resized to it;
            pictures are flattened for (F,); any other difference is an error. None accepts the data
            as they are.
        resize: True stretches the pictures of a folder to the input's size. A number N resizes them
            so that their shorter side has N pixels, and takes the middle of the input's size
            (torchvision's `Resize(N)` and `CenterCrop`).
        on_demand: Whether the pictures of a folder are decoded when they are needed, and not all now.
        ignore_index: A label in arrays that is neither trained nor counted, such as 255 at the
            edges of objects; -100 never is.
        tokens: What a text is made of: `char`, its characters, `byte`, or the path of a
            tokenizer's file, `tokenizer.json`.
        code: Whether `MODULE:FACTORY` or `FILE.py:FACTORY`, which is Python code, may be run for the
            data that it gives (see `netspec.runtime.data.given_data`).
        vocabulary: That of trained weights, for a text; None takes the text's own.

    Raises:
        NetspecError: `data/unknown-name`, `data/missing-file`, `data/bad-file`, `data/shape`;
            `train/bad-option` for a shorter side of less than a pixel.
    """
    name = str(name)
    require(
        isinstance(resize, bool) or (isinstance(resize, int | np.integer) and resize >= 1),
        f"resize must be True, False or a number of pixels, not {resize!r}",
    )
    data_dir = None if data_dir is None else Path(data_dir)
    if is_factory(name):
        if not code:
            raise refuse_unasked(name)
        return load_factory(name, input_shape, resize=resize)
    if is_shards(name):
        return load_shards(name, input_shape, resize=resize)
    path = path_of(name)
    if path is not None and name.endswith(".npz"):
        dataset = load_npz(path, ignore_index)
        return dataset if input_shape is None else dataset.fit_to(input_shape)
    if path is not None and name.endswith(SUFFIX):
        return load_text(path, input_shape, tokens=tokens, vocabulary=vocabulary)
    if path is not None:
        return _load_folder(
            path, input_shape, resize=resize, on_demand=on_demand, ignore_index=ignore_index
        )
    check_name(
        "data set",
        name,
        (*NAMES, "FILE.npz", "FILE.txt", "FILE.tar", "FOLDER/"),
        code=codes.DATA_UNKNOWN_NAME,
    )  # fmt: skip
    if name == "digits":
        return load_digits(input_shape)
    dataset = load_cifar10(data_dir) if name == "cifar10" else load_idx(name, data_dir)
    return dataset if input_shape is None else dataset.fit_to(input_shape)


def path_of(name: str) -> Path | None:
    """Return the file or folder that a name of data means; None for one of `NAMES` or an unknown one."""
    if is_factory(name):
        return file_of(name)
    if is_web(name):
        return None
    if name.endswith((".npz", SUFFIX)) or is_shards(name):
        return Path(name).expanduser()
    # A name of `NAMES` always means that data set, even if there is a folder of the same name.
    if name not in NAMES and ("/" in name or "\\" in name or Path(name).is_dir()):
        return Path(name).expanduser()
    return None


def _holds(folder: Path) -> str | None:
    """Return the name of the data set whose files lie in a folder or below it; None if there is none.

    The files of MNIST and Fashion-MNIST have the same names: the folder's own says which they are.
    """
    places = [folder, *(folder / path for path in ("raw", "MNIST/raw", "FashionMNIST/raw", CIFAR))]
    for place in places:
        if any((place / name).is_file() for name in (IDX[0], f"{IDX[0]}.gz")):
            whole = str(place.resolve()).lower()
            return "fashion-mnist" if "fashion" in whole else "mnist"
        if (place / TEST_BATCH).is_file():
            return "cifar10"
    return None


def _load_folder(
    folder: Path,
    input_shape: tuple[int, ...] | None,
    *,
    resize: Resize,
    on_demand: bool,
    ignore_index: int,
) -> Dataset:
    if not folder.is_dir():
        raise NetspecError.simple(codes.DATA_MISSING_FILE, f"no such folder: {folder}")
    if holds_arrays(folder):
        dataset = load_arrays(folder, ignore_index)
        return dataset if input_shape is None else dataset.fit_to(input_shape)
    if (meant := _holds(folder)) is not None:
        raise NetspecError.simple(
            codes.DATA_MISSING_FILE,
            f"{folder} holds the files of a data set that has a name",
            f"--data {meant} --data-dir {folder}",
        )
    if not is_image_folder(folder):
        raise NetspecError.simple(
            codes.DATA_MISSING_FILE,
            f"{folder} holds no data set",
            "pictures are expected as FOLDER/<class>/*.png, arrays as FOLDER/x_train.npy",
        )
    return load_image_folder(folder, input_shape, resize=resize, on_demand=on_demand)
