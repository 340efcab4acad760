"""Random crop, flip and cutout in NumPy: the same as in PyTorch, and reproducible."""

from __future__ import annotations

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.runtime.data import Dataset
from netspec.runtime.data.augment_draws import KINDS, PADDING, draw
from netspec.runtime.data.augment_numpy import cut_out, shift_and_flip
from tests.helpers.labelled_pictures import NET, picture

SIZE = (12, 10)


def pictures(count=40, shape=(3, *SIZE)):
    return np.random.default_rng(0).integers(1, 256, (count, *shape)).astype(np.uint8)


def made(count=48):
    rng = np.random.default_rng(0)
    y = np.arange(count) % 3
    x = np.stack([picture(label, rng) for label in y])
    return Dataset("made", x, y, x[:6], y[:6], 3)


def test_crop_and_flip_are_done_to_each_image_its_own_way():
    x, drawn = pictures(), draw(["crop", "flip"], 40, SIZE, 0, 1)
    assert len({*map(tuple, drawn[:, :3])}) > 20
    padded = np.pad(x, ((0, 0), (0, 0), (PADDING,) * 2, (PADDING,) * 2))
    got = shift_and_flip(x, drawn, ["crop", "flip"])
    for image, source, (top, left, flipped, *_) in zip(got, padded, drawn, strict=True):
        cropped = source[:, top : top + SIZE[0], left : left + SIZE[1]]
        assert np.array_equal(image, cropped[:, :, ::-1] if flipped else cropped)


def test_flip_alone_moves_nothing():
    x, drawn = pictures(), draw(["flip"], 40, SIZE, 0, 1)
    for image, source, flipped in zip(
        shift_and_flip(x, drawn, ["flip"]), x, drawn[:, 2], strict=True
    ):
        assert np.array_equal(image, source[:, :, ::-1] if flipped else source)
    assert shift_and_flip(x, drawn, ["cutout"]) is x


def test_cutout_is_a_square_cut_at_the_edges():
    drawn = draw(["cutout"], 200, SIZE, 0, 1)
    got = cut_out(np.ones((200, 2, *SIZE)), drawn, ["cutout"])
    for image, (*_, row, column) in zip(got, drawn, strict=True):
        expected = np.ones(SIZE)
        expected[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = 0
        assert np.array_equal(image[0], expected)
        assert np.array_equal(image[1], expected)


@pytest.mark.parametrize("kinds", [KINDS, ("crop",), ("flip", "cutout")], ids="+".join)
def test_pytorch_does_the_same(kinds):
    torch = pytest.importorskip("torch")
    from netspec.runtime.models.pytorch import augment

    x, drawn = pictures(), draw(kinds, 40, SIZE, 3, 2)
    ours = shift_and_flip(x, drawn, kinds)
    theirs = augment.shift_and_flip(torch.from_numpy(x), torch.from_numpy(drawn), kinds)
    assert np.array_equal(ours, theirs.numpy())
    cut = augment.cut_out(theirs.float(), torch.from_numpy(drawn), kinds)
    assert np.array_equal(cut_out(ours.astype(np.float32), drawn, kinds), cut.numpy())


def test_both_backends_train_on_the_same_changed_images():
    pytest.importorskip("torch")
    net = netspec.loads(NET)
    losses = [
        netspec.fit(
            net.compile(target, dtype="float64"), made(), epochs=2, batch=10, augment=KINDS
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
        netspec.fit(model, made(), epochs=2, batch=batch, augment=KINDS, seed=4)
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
