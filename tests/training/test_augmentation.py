"""Random crop, flip and cutout in NumPy: the same as in PyTorch, and reproducible."""

from __future__ import annotations

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.runtime.data import Dataset
from netspec.runtime.data.augment_draws import Augmentation, draw
from netspec.runtime.data.augment_numpy import cut_out, shift_and_flip
from tests.helpers.labelled_pictures import NET, picture

SIZE = (12, 10)
ALL = ("crop", "flip", "cutout")


def pictures(count=40, shape=(3, *SIZE)):
    return np.random.default_rng(0).integers(1, 256, (count, *shape)).astype(np.uint8)


def made(count=48):
    rng = np.random.default_rng(0)
    y = np.arange(count) % 3
    x = np.stack([picture(label, rng) for label in y])
    return Dataset("made", x, y, x[:6], y[:6], 3)


def test_crop_and_flip_are_done_to_each_image_its_own_way():
    x, drawn = pictures(), draw(Augmentation(("crop", "flip")), 40, SIZE, 0, 1)
    assert len({*map(tuple, drawn[:, :3])}) > 20
    padded = np.pad(x, ((0, 0), (0, 0), (4,) * 2, (4,) * 2))
    got = shift_and_flip(x, drawn, Augmentation(("crop", "flip")))
    for image, source, (top, left, flipped, *_) in zip(got, padded, drawn, strict=True):
        cropped = source[:, top : top + SIZE[0], left : left + SIZE[1]]
        assert np.array_equal(image, cropped[:, :, ::-1] if flipped else cropped)


def test_flip_alone_moves_nothing():
    x, drawn = pictures(), draw(Augmentation(("flip",)), 40, SIZE, 0, 1)
    for image, source, flipped in zip(
        shift_and_flip(x, drawn, Augmentation(("flip",))), x, drawn[:, 2], strict=True
    ):
        assert np.array_equal(image, source[:, :, ::-1] if flipped else source)
    assert shift_and_flip(x, drawn, Augmentation(("cutout",))) is x


def test_cutout_is_a_square_cut_at_the_edges():
    drawn = draw(Augmentation(("cutout",)), 200, SIZE, 0, 1)
    got = cut_out(np.ones((200, 2, *SIZE)), drawn, Augmentation(("cutout",)))
    for image, (*_, row, column) in zip(got, drawn, strict=True):
        expected = np.ones(SIZE)
        expected[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = 0
        assert np.array_equal(image[0], expected)
        assert np.array_equal(image[1], expected)


@pytest.mark.parametrize(
    "changes",
    [
        Augmentation(ALL),
        Augmentation(("crop",), pad=2, edges="mirror"),
        Augmentation(("flip", "cutout"), cutout=3),
        Augmentation(("crop", "alternate-flip"), pad=9, edges="mirror"),
        Augmentation(("alternate-flip", "cutout"), cutout=5),
    ],
    ids=str,
)
def test_pytorch_does_the_same(changes):
    torch = pytest.importorskip("torch")
    from netspec.runtime.models.pytorch import augment

    x, drawn = pictures(), draw(changes, 40, SIZE, 3, 2)
    ours = shift_and_flip(x, drawn, changes)
    theirs = augment.shift_and_flip(torch.from_numpy(x), torch.from_numpy(drawn), changes)
    assert np.array_equal(ours, theirs.numpy())
    cut = augment.cut_out(theirs.float(), torch.from_numpy(drawn), changes)
    assert np.array_equal(cut_out(ours.astype(np.float32), drawn, changes), cut.numpy())


def test_both_backends_train_on_the_same_changed_images():
    pytest.importorskip("torch")
    net = netspec.loads(NET)
    losses = [
        netspec.fit(
            net.compile(target, dtype="float64"), made(), epochs=2, batch=10, augment=ALL
        ).loss_history
        for target in ("numpy", "torch")
    ]
    assert np.abs(np.subtract(*losses)).max() < 1e-9


def test_what_is_drawn_follows_from_seed_epoch_and_image():
    seen = []

    for batch in (5, 12):
        model = netspec.loads(NET).compile()
        gradients = model.gradients_
        images = {}

        def keep(x, y, gradients=gradients, images=images, **options):
            images.update((image.tobytes(), None) for image in x)
            return gradients(x, y, **options)

        model.gradients_ = keep
        netspec.fit(model, made(), epochs=2, batch=batch, augment=ALL, seed=4)
        seen.append(set(images))
    # These are the same 96 augmented images, in whatever batches they came.
    assert seen[0] == seen[1]
    assert len(seen[0]) > 80


def test_equal_seeds_are_equal_bits_and_others_are_not():
    states = []
    for seed in (1, 1, 2):
        model = netspec.loads(NET).compile()
        netspec.fit(model, made(), epochs=1, batch=12, augment=["crop"], seed=seed)
        states.append(model.state_dict()["linear1.weight"].tobytes())
    assert states[0] == states[1] != states[2]


def test_augmentation_needs_pictures():
    flat = netspec.loads("net A { input x: [192]\n output x -> linear(3) }").compile()
    with pytest.raises(NetspecError, match="needs pictures"):
        netspec.fit(flat, made(), augment=["flip"])
    with pytest.raises(NetspecError, match="did you mean `flip`"):
        netspec.fit(netspec.loads(NET).compile(), made(), augment=["flipp"])


def test_mirrored_edges_are_those_of_numpy():
    x, changes = pictures(), Augmentation(("crop",), pad=3, edges="mirror")
    drawn = draw(changes, 40, SIZE, 0, 1)
    assert drawn[:, :2].max() == 6
    padded = np.pad(x, ((0, 0), (0, 0), (3, 3), (3, 3)), "reflect")
    for image, source, (top, left, *_) in zip(
        shift_and_flip(x, drawn, changes), padded, drawn, strict=True
    ):
        assert np.array_equal(image, source[:, top : top + SIZE[0], left : left + SIZE[1]])


def test_alternating_flips_show_each_picture_both_ways_in_two_epochs():
    changes = Augmentation(("alternate-flip",))
    flipped = [draw(changes, 200, SIZE, 7, epoch)[:, 2] for epoch in (1, 2, 3)]
    assert np.array_equal(flipped[0] + flipped[1], np.ones(200))
    assert np.array_equal(flipped[0], flipped[2])
    assert 60 < flipped[0].sum() < 140
    x = pictures()
    drawn = draw(changes, 40, SIZE, 7, 1)
    for image, source, flip in zip(shift_and_flip(x, drawn, changes), x, drawn[:, 2], strict=True):
        assert np.array_equal(image, source[:, :, ::-1] if flip else source)


def test_a_square_has_the_side_that_is_asked_for():
    changes = Augmentation(("cutout",), cutout=3)
    drawn = draw(changes, 200, SIZE, 0, 1)
    got = cut_out(np.ones((200, 1, *SIZE)), drawn, changes)
    inside = (drawn[:, 3] >= 1) & (drawn[:, 3] < 11) & (drawn[:, 4] >= 1) & (drawn[:, 4] < 9)
    assert set((got == 0).sum(axis=(1, 2, 3))[inside]) == {9}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"augment": ["flip", "alternate-flip"]}, "leave out one of them"),
        ({"augment": ["crop"], "crop_pad": 8, "crop_edges": "mirror"}, "no 8 to mirror"),
        ({"augment": ["crop"], "crop_edges": "wrap"}, "there is no kind of edges `wrap`"),
        ({"augment": ["crop"], "crop_pad": 0}, "crop_pad must be a whole number from 1 on"),
        ({"augment": ["cutout"], "cutout_size": 0}, "cutout_size must be a whole number from 1"),
    ],
)
def test_what_is_wrong_with_a_change_is_told(options, words):
    with pytest.raises(NetspecError) as caught:
        netspec.fit(netspec.loads(NET).compile(), made(), **options)
    (found,) = caught.value.diagnostics
    assert words in found.message + " ".join(hint.text for hint in found.hints)
