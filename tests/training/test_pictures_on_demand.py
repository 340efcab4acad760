"""Pictures of any size, decoded when they are needed, in this process or in others."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.runtime.data.batches import batch_slices, epoch_order, share
from netspec.runtime.data.image_folder import load_image_folder
from netspec.runtime.data.lazy_samples import LazySamples
from netspec.runtime.data.pictures import read_picture
from tests.conftest import ROOT
from tests.helpers.errors import fails
from tests.helpers.mixed_pictures import KINDS, make_mixed, save_kind

pytest.importorskip("PIL")

NET = """\
net Small(classes = 3) {
    input image: [3, 16, 16]

    output image -> conv(4, 3, stride = 2) -> relu -> global_avg_pool -> linear(classes)
}
"""
SHAPE = (3, 16, 16)
CHANGES = ("random_resized_crop(scale=(0.3, 1))", "horizontal_flip", "color_jitter(0.4, 0.4)")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mixed")
    make_mixed(root / "train", 61)
    make_mixed(root / "val", 12)
    return root


def load(folder: Path, **options: object) -> netspec.Dataset:
    return load_image_folder(folder, SHAPE, resize=18, on_demand=True, **options)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------ decoding


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_brought_to_what_the_net_takes(tmp_path, kind):
    pixels = np.zeros((8, 12, 3), np.uint8)
    pixels[:, :6] = 255  # the left half is white
    path = save_kind(tmp_path / "x", kind, pixels)
    for channels in (1, 3):
        x = read_picture(path, channels).astype(int)
        if kind == "turned.jpg":  # the camera was held upright: left is now on top
            x = np.rot90(x, 1, (1, 2))
        assert x.shape == (channels, 8, 12)
        assert (x[:, :, :5] > 240).all()
        assert (x[:, :, 7:] < 15).all()


def test_pictures_on_demand_are_those_that_are_decoded_ahead(folder):
    ahead = load_image_folder(folder, SHAPE, resize=18)
    found = load(folder)
    assert isinstance(found.x_train, LazySamples)
    assert (len(found.x_train), len(found.x_test)) == (61, 12)  # `val` is taken for `test`
    assert np.array_equal(found.x_train[:], ahead.x_train)
    assert np.array_equal(found.x_test[np.array([3, 1])], ahead.x_test[[3, 1]])
    assert np.array_equal(found.x_test[2], ahead.x_test[2])
    rest, x_val, y_val = found.split(0.2, 1)
    other, x_same, y_same = ahead.split(0.2, 1)
    assert np.array_equal(x_val[:], x_same)
    assert np.array_equal(y_val, y_same)
    assert np.array_equal(rest.limit(5).x_train[:], other.limit(5).x_train)


def test_all_that_cannot_be_read_is_listed_before_it_starts(tmp_path):
    make_mixed(tmp_path / "a", 30)
    good = save_kind(tmp_path / "a/c0/whole", "rgb.jpg", np.full((40, 50, 3), 9, np.uint8))
    (tmp_path / "a/c0/cut.jpg").write_bytes(good.read_bytes()[:-60])
    (tmp_path / "a/c1/text.png").write_text("no picture")
    (tmp_path / "a/c2/empty.jpeg").write_bytes(b"")
    with pytest.raises(NetspecError) as found:
        load(tmp_path / "a")
    named = [Path(d.message.split(": ")[0]).name for d in found.value.diagnostics]
    assert sorted(named) == ["cut.jpg", "empty.jpeg", "text.png"]
    assert {str(d.code) for d in found.value.diagnostics} == {"data/bad-file"}


def test_pictures_are_looked_through_once(folder, tmp_path, monkeypatch):
    looked = []
    real = "netspec.runtime.data.stored_pictures.require_readable"
    monkeypatch.setattr(real, lambda name, content: (looked.append(name), (20, 20))[1])
    load(folder)
    assert len(looked) == 73
    load(folder)
    assert len(looked) == 73
    picture = next((folder / "train/c0").iterdir())
    os.utime(picture, ns=(1, picture.stat().st_mtime_ns + 1))
    load(folder)
    assert len(looked) == 146


def test_a_picture_that_disappears_is_named(folder, tmp_path):
    make_mixed(tmp_path / "a", 9)
    data = load(tmp_path / "a")
    gone = next((tmp_path / "a/c1").iterdir())
    gone.unlink()
    with fails("data/missing-file", gone.name):
        data.x_train[:]


# ------------------------------------------------------------------------- changes by their names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("horizontal_flop", "no augmentation `horizontal_flop`.*did you mean `horizontal_flip`"),
        ("horizontal_flip(2)", "p of horizontal_flip must be a number from 0 to 1, not 2"),
        ("mixup(alpha=0)", "alpha of mixup"),
        ("random_resized_crop(0)", "size of random_resized_crop"),
        ("random_resized_crop(scale=(1, 0.5))", "scale of random_resized_crop"),
        ("rand_augment(depth=3)", "no argument of rand_augment `depth`"),
        ("rand_augment(1, 2, 3)", "rand_augment takes num_ops, magnitude, each once"),
        ("crop(3)", "crop takes no arguments"),
        ("mixup(__import__('os').abort())", "arguments of mixup are not numbers"),
        ("mixup(*[1])", "arguments of mixup are not numbers"),
        ("mixup(", "a change is a name"),
        ("resize(256)", "is an option.*resize-shorter = 256"),
        ("normalize([0.5], [0.5])", "is an option.*mean ="),
        ("mixup(" + "(" * 190 + "1" + ")" * 190, "a change is a name"),
    ],
)
def test_wrong_changes_are_refused(text, said):
    with fails("train/bad-option", said):
        netspec.fit(netspec.loads(NET).compile(), netspec.load_data("digits"), augment=[text])


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_what_torchvision_does_is_refused_elsewhere(folder, target):
    model = netspec.loads(NET).compile(target)
    with fails("train/bad-option", "random_resized_crop, horizontal_flip.*torch.*mixup, cutmix"):
        netspec.fit(model, load(folder), augment=CHANGES[:2])


def trained(folder: Path, target: str = "torch", **options: object) -> netspec.History:
    model = netspec.loads(NET).compile(target)
    known = {"epochs": 2, "batch": 16, "lr": 1e-2, "seed": 4}
    return netspec.fit(model, load(folder), **{**known, **options})  # type: ignore[arg-type]


def test_a_run_is_the_same_with_any_number_of_workers(folder):
    pytest.importorskip("torch")
    changes = [*CHANGES, "random_erasing", "cutout", "mixup(0.4)", "cutmix"]
    alone = trained(folder, augment=changes)
    assert trained(folder, augment=changes, workers=2).loss_history == alone.loss_history
    assert trained(folder, augment=changes, seed=5).loss_history != alone.loss_history


def test_a_picture_that_is_drawn_again_is_changed_again(folder):
    """Classes that are drawn as often repeat pictures, in the same way with any number of processes."""
    torch = pytest.importorskip("torch")
    from netspec.runtime.models.pytorch.batches import job_feeds
    from netspec.runtime.models.pytorch.epoch_share import OwnShare
    from netspec.runtime.models.pytorch.processes import ProcessGroup
    from netspec.runtime.training.plan import TrainingOptions, plan_training

    model = netspec.loads(NET).compile()
    options = TrainingOptions(batch=7, augment=CHANGES, sample="balanced", normalize="imagenet")
    planned = plan_training(model, load(folder), options)
    job, parts, device = planned.job, planned.parts, torch.device("cpu")
    order = epoch_order(61, job.seed, 1, job.chances)
    seen = {}
    for size in (1, 2):
        for rank in range(size):
            feed = job_feeds(job, model.graph, device)["steps"]
            own = OwnShare(job, model.graph, ProcessGroup(rank, size), feed, device)
            for part, step in zip(parts, own.steps(1, order, parts), strict=True):
                mine, weight = share(part, rank, size)
                (x,) = step.x.values()
                for place, image in zip(range(mine.start, mine.stop), x, strict=True):
                    if weight:
                        before = seen.setdefault(place, image)
                        assert torch.equal(before, image)
    assert sorted(seen) == [*range(61)]
    assert len({*order.tolist()}) < 61
    assert len({image.numpy().tobytes() for image in seen.values()}) == 61


@pytest.mark.parametrize("changes", [[], ["crop", "flip", "cutout"], ["mixup"], ["cutmix", "flip"]])
def test_backends_see_the_same_batches(folder, changes):
    pytest.importorskip("torch")
    one = trained(folder, "numpy", augment=changes).loss_history
    other = trained(folder, augment=changes).loss_history
    assert one == pytest.approx(other, abs=1e-5)


def test_blended_labels_are_those_of_soft_targets():
    torch = pytest.importorskip("torch")
    from netspec.runtime.optim.losses import SoftmaxCrossEntropy
    from netspec.runtime.optim.mixed_loss import MixedLoss

    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(5, 4)), rng.integers(0, 4, (5, 2))
    loss = MixedLoss(SoftmaxCrossEntropy(), 0.3)
    gradient = np.empty_like(scores)
    value = loss.value_and_gradient(scores, labels, gradient)
    soft = 0.3 * np.eye(4)[labels[:, 0]] + 0.7 * np.eye(4)[labels[:, 1]]
    x = torch.tensor(scores, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(x, torch.tensor(soft))
    expected.backward()
    assert value == pytest.approx(expected.item(), abs=1e-12)
    assert gradient == pytest.approx(x.grad.numpy(), abs=1e-12)
    assert loss.value(scores, labels) == pytest.approx(value, abs=1e-12)


def test_changes_are_those_of_torchvision(folder):
    torch = pytest.importorskip("torch")
    from PIL import Image, ImageOps
    from torchvision.transforms import v2

    from netspec.runtime.data.augmentations import parse_augmentation
    from netspec.runtime.models.pytorch.picture_changes import PictureChanges

    texts = ["random_resized_crop(12)", "rand_augment", "trivial_augment", "vertical_flip(0.3)"]
    changes = PictureChanges(parse_augmentation(texts).of_pictures, (12, 12))
    path = next((folder / "train/c0").glob("*.jpg"))
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file).convert("RGB")
    found = changes(image, 1, 2, 3)
    assert torch.equal(found, changes(image, 1, 2, 3))
    assert not torch.equal(found, changes(image, 1, 3, 3))
    state = int(np.random.SeedSequence([1, 2, 4, 3]).generate_state(1, np.uint64)[0]) >> 1
    torch.manual_seed(state)
    plain = v2.Compose([
        v2.RandomResizedCrop(12), v2.RandAugment(), v2.TrivialAugmentWide(),
        v2.RandomVerticalFlip(0.3), v2.PILToTensor(),
    ])  # fmt: skip
    assert torch.equal(found, plain(image))


# ----------------------------------------------------------------------- processes and resumption


def batches(folder: Path | str, *, size: int = 1, workers: int = 0, first: int = 0) -> list[str]:
    """Return a line for each sample that the processes of a run get, in the order of the run.

    Args:
        folder: the pictures.
        size: how many processes share each batch; their shares are made here, one after the other.
        workers: how many workers each has.
        first: the batch of the first epoch that is the first.
    """
    torch = pytest.importorskip("torch")
    from netspec.runtime.models.pytorch.batches import job_feeds
    from netspec.runtime.models.pytorch.epoch_share import OwnShare
    from netspec.runtime.models.pytorch.processes import ProcessGroup
    from netspec.runtime.training.plan import TrainingOptions, plan_training

    model = netspec.loads(NET).compile()
    data = netspec.load_data(str(folder), input_shape=SHAPE, resize=18, on_demand=True)
    options = TrainingOptions(batch=7, seed=3, workers=workers, augment=CHANGES)
    planned = plan_training(model, data, options)
    job, parts, device = planned.job, planned.parts, torch.device("cpu")
    found: list[tuple[int, int, str]] = []
    for rank in range(size):
        feed = job_feeds(job, model.graph, device)["steps"]
        own = OwnShare(job, model.graph, ProcessGroup(rank, size), feed, device)
        for epoch in (1, 2):
            order = epoch_order(len(job.data.x_train), job.seed, epoch)
            left = parts[first:] if epoch == 1 else parts
            for part, step in zip(left, own.steps(epoch, order, left), strict=True):
                mine, weight = share(part, rank, size)
                (x,) = step.x.values()
                for number, image, label in zip(order[mine], x, step.y.tolist(), strict=True):
                    if weight:
                        pixels = hashlib.sha256(image.numpy().tobytes()).hexdigest()
                        found.append((epoch, part.start, f"{number} {label} {pixels}"))
    found.sort(key=lambda each: each[:2])
    return [f"{epoch} {start} {text}" for epoch, start, text in found]


@pytest.fixture(scope="module")
def seen(folder):
    """What one process without workers gets."""
    return batches(folder)


def test_each_picture_is_seen_once_in_an_epoch(seen):
    for epoch in ("1", "2"):
        numbers = [int(line.split()[2]) for line in seen if line.startswith(epoch)]
        assert sorted(numbers) == [*range(61)]
    assert len({line.split()[-1] for line in seen}) > 61  # the changes of each epoch are its own


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_processes_and_workers_get_the_same_pictures(
    seen, folder, tmp_path, monkeypatch, size, workers
):
    monkeypatch.chdir(tmp_path)  # the path is relative
    assert batches(f"{os.path.relpath(folder)}/", size=size, workers=workers) == seen


@pytest.mark.heavy
def test_workers_that_are_started_anew_get_the_same_pictures(seen, folder, monkeypatch):
    import multiprocessing

    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        assert batches(folder, workers=2) == seen
    finally:
        multiprocessing.set_start_method(before, force=True)


def test_a_run_goes_on_with_the_next_batch(seen, folder):
    parts = batch_slices(61, 7)
    found = batches(folder, workers=2, first=4)
    done = {str(part.start) for part in parts[:4]}
    assert found == [line for line in seen if line.split()[0] == "2" or line.split()[1] not in done]
    order = epoch_order(61, 3, 1)
    assert [int(line.split()[2]) for line in found[:7]] == order[parts[4]].tolist()


def test_runs_are_resumed_in_the_middle_of_an_epoch_twice(folder, tmp_path, run, monkeypatch):
    """A run that is stopped twice in epochs ends with the weights of one that was not."""
    pytest.importorskip("torch")
    from tests.helpers.killing import assert_equal_runs, send, stop_after

    monkeypatch.chdir(tmp_path)
    net = tmp_path / "small.net"
    net.write_text(NET)
    options = ("--data", f"{os.path.relpath(folder, tmp_path)}/", "--resize-shorter", "18",
               "--epochs", "2", "--batch", "7", "--log-every", "1", "--threads", "1",
               "--val", "7", "--keep", "best",
               "--augment", "random_resized_crop(scale=(0.3, 1)),mixup(0.3)", "--device", "cpu",
               "--workers", "1")  # fmt: skip
    assert run("train", "torch", net, *options, "--out", "whole").code == 0
    with monkeypatch.context() as patch:
        stop_after(patch, "torch", 4, send(signal.SIGTERM))
        assert run("train", "torch", net, *options, "--out", "halved").code == 143
    with monkeypatch.context() as patch:
        stop_after(patch, "torch", 7, send(signal.SIGTERM))
        assert run("train", "--resume", "halved", "--workers", "0").code == 143
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert run("train", "--resume", "../halved").code == 0
    assert_equal_runs(tmp_path / "halved", tmp_path / "whole")


# A signal handler of PyTorch's raises wherever the process is, so that it has one of its own.
KILLING = """
import multiprocessing, os, signal, sys
from netspec.cli import main
from netspec.runtime.models.pytorch.steps import TorchBackend

step = TorchBackend.step

def killing(self, lr):
    step(self, lr)
    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGKILL)

if __name__ == "__main__":
    TorchBackend.step = killing
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.heavy
def test_a_killed_worker_is_an_error(folder, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "small.net").write_text(NET)
    (tmp_path / "kill.py").write_text(KILLING)
    words = ["train", "torch", "small.net", "--data", f"{folder}/", "--resize-shorter", "18",
             "--batch", "4", "--workers", "1", "--epochs", "20", "--device", "cpu"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "kill.py", *words], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    assert "error[process/lost]" in done.stderr
    assert "DataLoader worker" in done.stderr
    assert "Traceback" not in done.stderr
