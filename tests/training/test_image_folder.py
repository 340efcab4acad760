"""Data sets on disk: folders of pictures, memory-mapped arrays, batches that are made ahead."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.runtime.data.arrays import open_npy
from netspec.runtime.data.image_folder import load_image_folder
from netspec.runtime.data.pictures import read_picture
from netspec.runtime.data.prefetch import prefetched
from netspec.runtime.weights.data_facts import about_data, class_names, labels_by_name
from tests.helpers.errors import fails
from tests.helpers.labelled_pictures import CLASSES, NET, make_folder, picture, save

RNG = np.random.default_rng(1)


# ------------------------------------------------------------------------------- a folder a class


def test_a_folder_of_pictures_is_a_data_set(tmp_path):
    data = netspec.load_data(str(make_folder(tmp_path / "pets")), input_shape=(3, 8, 8))
    assert data.name == "pets"
    assert data.class_names == CLASSES
    assert data.x_train.shape == (36, 3, 8, 8)
    assert data.x_train.dtype == np.uint8
    assert data.y_test.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    # The last images contain some of every class, so holding them out is possible.
    assert set(data.y_train[-12:]) == {0, 1, 2}
    again = netspec.load_data(str(tmp_path / "pets"))
    assert np.array_equal(data.x_train, again.x_train)
    for image, label in zip(data.x_train, data.y_train, strict=True):
        assert image.mean(axis=(0, 2)).argmax() // 2 == label


def test_without_train_and_test_all_pictures_are_for_training(tmp_path):
    make_folder(tmp_path, train=6, test=0)
    (tmp_path / "train" / ".hidden").mkdir()
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no picture")
    data = netspec.load_data(str(tmp_path / "train"))
    assert (len(data.x_train), len(data.x_test)) == (6, 0)
    assert data.class_names == CLASSES


def test_the_nets_channels_say_whether_pictures_are_grey(tmp_path):
    make_folder(tmp_path, train=3, test=0)
    save(tmp_path / "train/cat/grey.jpg", picture(0, RNG, (1, 8, 8)))
    load = netspec.load_data
    assert load(str(tmp_path)).sample_shape == (3, 8, 8)
    assert load(str(tmp_path), input_shape=(1, 8, 8)).sample_shape == (1, 8, 8)
    assert load(str(tmp_path), input_shape=(64,)).sample_shape == (64,)
    assert load(str(tmp_path), input_shape=(192,)).sample_shape == (192,)


def test_pictures_of_another_size_are_stretched_when_asked(tmp_path):
    make_folder(tmp_path, train=3, test=0)
    odd = save(tmp_path / "train/owl/odd.png", picture(2, RNG, (3, 16, 12)))
    with fails("data/shape", "odd.png has 12 x 16 pixels, 8 x 8 are wanted", "--resize"):
        netspec.load_data(str(tmp_path), input_shape=(3, 8, 8))
    data = netspec.load_data(str(tmp_path), input_shape=(3, 8, 8), resize=True)
    assert len(data.x_train) == 4
    stretched = read_picture(odd, 3, (8, 8), resize=True)
    assert any(np.array_equal(stretched, x) for x in data.x_train)


@pytest.mark.parametrize(
    ("damage", "code", "said"),
    [
        (lambda d: (d / "val/cat").mkdir(parents=True), "data/bad-file", "test is read.*is val"),
        (lambda d: (d / "test/cow").mkdir(), "data/bad-file", "class cow is not among"),
        (
            lambda d: (d / "train/cat/x.png").write_bytes(b"no"),
            "data/bad-file",
            "x.png: not a valid",
        ),
        (lambda d: [p.unlink() for p in d.glob("train/*/*")], "data/missing-file", "no pictures"),
        (
            lambda d: [p.rename(p.with_suffix(".tif")) for p in d.glob("train/owl/*")],
            "data/bad-file",
            "owl: no picture; those end in .png",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(tmp_path, damage, code, said):
    make_folder(tmp_path, train=6, test=3)
    damage(tmp_path)
    with fails(code, said):
        netspec.load_data(str(tmp_path), input_shape=(3, 8, 8))


def test_a_folder_that_holds_no_data(tmp_path):
    with fails("data/missing-file", "holds no data set", "<class>"):
        netspec.load_data(str(tmp_path))
    with fails("data/missing-file", "no such folder"):
        netspec.load_data(str(tmp_path / "nothing"))


# --------------------------------------------------------------------------------- single pictures


def test_a_picture_is_seen_as_people_see_it(tmp_path):
    image = pytest.importorskip("PIL.Image")
    x = picture(0, RNG, (3, 8, 6))
    path = save(tmp_path / "a.png", x)
    assert np.array_equal(read_picture(path), x)
    grey = read_picture(path, 1)[0]
    assert np.abs(grey - np.tensordot([0.299, 0.587, 0.114], x, 1)).max() < 1
    turned = image.open(path)
    exif = turned.getexif()
    exif[0x0112] = 6  # the camera was held upright
    turned.save(tmp_path / "b.png", exif=exif)
    assert np.array_equal(read_picture(tmp_path / "b.png"), np.rot90(x, -1, (1, 2)))


def test_pictures_that_are_refused(tmp_path):
    image = pytest.importorskip("PIL.Image")
    other = tmp_path / "other.png"  # Pillow could read it with another of its readers
    image.new("L", (4, 4)).save(other, format="GIF")
    with fails("data/bad-file", "not a valid PNG"):
        read_picture(other)
    cut = tmp_path / "cut.png"
    cut.write_bytes(save(tmp_path / "whole.png", picture(0, RNG)).read_bytes()[:90])
    with fails("data/bad-file", "cut.png"):
        read_picture(cut)
    huge = tmp_path / "huge.png"  # a few bytes that claim a gigabyte
    image.new("1", (9000, 9000)).save(huge)
    with fails("data/bad-file", "the limit is 64,500,000"):
        read_picture(huge)
    image.new("1", (70_000, 1)).save(huge)
    with fails("data/bad-file", "70000 x 1 pixels; the limit is 65,535 on a side"):
        read_picture(huge)


def test_pictures_that_no_flat_input_takes_are_not_decoded(tmp_path, monkeypatch):
    make_folder(tmp_path / "pets")
    read = []
    monkeypatch.setattr(
        "netspec.runtime.data.image_folder.read_picture",
        lambda path, *given, **options: read.append(path) or read_picture(path, *given, **options),
    )
    for resize in (False, True):
        with fails("data/shape", r"its images are \[3, 8, 8\], the network's input is \[36\]"):
            load_image_folder(tmp_path / "pets", (36,), resize=resize)
    assert len(read) == 2
    assert load_image_folder(tmp_path / "pets", (192,)).sample_shape == (192,)


# ------------------------------------------------------------------------------ arrays on disk


def make_arrays(folder, count=40):
    folder.mkdir()
    rng = np.random.default_rng(0)
    y = np.arange(count) % 3
    x = np.stack([picture(label, rng) for label in y])
    for name, array in (("x_train", x), ("y_train", y), ("x_test", x[:6]), ("y_test", y[:6])):
        np.save(folder / f"{name}.npy", array)
    return folder


def test_arrays_stay_on_disk_and_train_as_in_memory(tmp_path):
    mapped = netspec.load_data(str(make_arrays(tmp_path / "big")), input_shape=(3, 8, 8))
    owner = mapped.x_train
    while owner.base is not None and not hasattr(owner.base, "madvise"):
        owner = owner.base
    assert owner.base is not None  # an mmap, not memory
    in_memory = netspec.Dataset(
        "big",
        *(np.array(getattr(mapped, n)) for n in ("x_train", "y_train", "x_test", "y_test")),
        3,
    )
    histories = []
    for data in (mapped, in_memory):
        model = netspec.loads(NET).compile()
        histories.append(netspec.fit(model, data, epochs=2, batch=7, val=5))
    assert histories[0].loss_history == histories[1].loss_history


def test_arrays_may_name_their_classes_and_have_no_test_images(tmp_path):
    folder = make_arrays(tmp_path / "big")
    (folder / "classes.txt").write_text("cat\ndog\nowl\n")
    for name in ("x_test.npy", "y_test.npy"):
        (folder / name).unlink()
    data = netspec.load_data(str(folder))
    assert data.class_names == CLASSES
    assert len(data.x_test) == 0
    (folder / "classes.txt").write_text("cat\n")
    with fails("data/bad-file", "1 class has label 0"):
        netspec.load_data(str(folder))


def test_arrays_that_are_none(tmp_path):
    lying = tmp_path / "lying.npy"
    np.save(lying, np.zeros((4, 4)))
    lying.write_bytes(lying.read_bytes().replace(b"(4, 4)", b"(9, 9)"))
    with fails("data/bad-file", "lying.npy"):
        open_npy(lying)
    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([{}]), allow_pickle=True)
    with fails("data/bad-file", "objects.npy"):
        open_npy(objects)
    with fails("data/missing-file"):
        open_npy(tmp_path / "none.npy")


# ------------------------------------------------------------------------------ batches ahead


def test_batches_come_in_order_one_ahead():
    made: list[int] = []

    def make(i):
        time.sleep(0.01 * (i % 2))
        made.append(i)
        return threading.get_ident(), i

    ahead = prefetched(make, range(6))
    thread, first = next(ahead)
    assert first == 0
    assert thread != threading.get_ident()
    assert [i for _, i in ahead] == [1, 2, 3, 4, 5]
    assert made == list(range(6))
    early = prefetched(make, range(100))
    next(early)
    early.close()
    assert len(made) <= 6 + 2


def test_an_error_comes_where_its_batch_would_have():
    ahead = prefetched(lambda i: 1 // (2 - i), range(4))
    assert [next(ahead), next(ahead)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(ahead)


# ------------------------------------------------------------------------------ names of classes


def test_names_go_with_the_weights_and_labels_follow_them(tmp_path):
    data = netspec.load_data(str(make_folder(tmp_path, 6, 3)))
    about = about_data(data)
    assert class_names(about, 4) == (*CLASSES, "3")
    assert class_names({}, 2) == ("0", "1")
    assert class_names({"class_names": '["a\\u001b[0m"]'}, 1) == ("a\\x1b[0m",)
    fewer = netspec.Dataset("new", data.x_test, data.y_test % 2, data.x_test, data.y_test % 2, 2,
                            ("dog", "owl"))  # fmt: skip
    assert labels_by_name(fewer, np.array([0, 1, 1]), about).tolist() == [1, 2, 2]
    with fails("data/shape", "class `cow`"):
        other = netspec.Dataset("new", data.x_test, data.y_test, data.x_test, data.y_test, 3,
                                ("cat", "cow", "owl"))  # fmt: skip
        labels_by_name(other, data.y_test, about)
    with fails("weights/bad-file", "names of the classes"):
        class_names({"class_names": "[1]"}, 2)
    with fails("data/shape", "2 names for 3 classes"):
        netspec.Dataset("new", data.x_test, data.y_test, data.x_test, data.y_test, 3, ("a", "b"))


@pytest.mark.parametrize("on_demand", [False, True])
def test_a_cause_that_repeats_is_told_once(tmp_path, on_demand):
    """How many pictures it is of, and the first; another cause has an error of its own."""
    rng = np.random.default_rng(1)
    for i in range(20):
        save(tmp_path / f"pets/cat/{i:02}.png", picture(0, rng, (3, 8, 9 + i % 3)))
        save(tmp_path / f"pets/dog/{i:02}.png", picture(1, rng))
    for i in range(5):
        (tmp_path / f"pets/dog/empty{i}.png").write_bytes(b"")
    with pytest.raises(netspec.NetspecError) as found:
        load_image_folder(tmp_path / "pets", (3, 8, 8), on_demand=on_demand)
    by_code = {str(d.code): d for d in found.value.diagnostics}
    assert len(found.value.diagnostics) == len(by_code) == 2
    (sizes,), (bad,) = by_code["data/shape"].notes, by_code["data/bad-file"].notes
    assert sizes.startswith("and so 19 others: ")
    assert sizes.endswith(", ...")
    assert bad.startswith("and so 4 others: ")
    assert bad.count("empty") == 4


def test_a_data_set_knows_its_files_until_images_are_left_out(tmp_path):
    make_folder(tmp_path, train=12, test=3)
    data = load_image_folder(tmp_path, (3, 8, 8))
    for part, x in zip(data.files, (data.x_train, data.x_test), strict=True):
        assert [np.array_equal(read_picture(Path(f)), one) for f, one in zip(part, x, strict=True)]
    rest, _, _ = data.split(2)
    assert rest.files == ((), data.files[1])
    assert data.limit(3).files == ((), data.files[1])


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "BMP", "TIFF"])
def test_another_format_is_named(tmp_path, kind):
    """Browsers save such files under the names of others."""
    image = pytest.importorskip("PIL.Image")
    features = pytest.importorskip("PIL.features")
    if kind == "WEBP" and not features.check("webp"):
        pytest.skip("Pillow was built without WebP")
    path = tmp_path / "photo.jpg"
    image.new("RGB", (8, 8)).save(path, format=kind)
    name = {"WEBP": "WebP"}.get(kind, kind)
    with fails("data/bad-file", f"photo.jpg: not a valid PNG or JPEG file: it is {name}; save it"):
        read_picture(path)
