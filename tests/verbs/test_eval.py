"""`netspec eval`, and an image folder from training to a table of results."""

from __future__ import annotations

import json

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.runtime.data.input_normalization import Normalization
from netspec.runtime.models.confusions import Confusions
from netspec.runtime.models.evaluation import Evaluation, evaluate, probabilities
from tests.conftest import Run
from tests.helpers.labelled_pictures import CLASSES, NET, make_folder, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Make a folder of pictures, a net, and trained weights."""
    root = tmp_path_factory.mktemp("trained")
    make_folder(root / "pets")
    (root / "small.net").write_text(NET)
    history = train(root / "pets", root / "w.safetensors")
    return root, history


def command(root, *more):
    return ("eval", root / "small.net", "--weights", root / "w.safetensors", *more)


def test_the_table_of_a_known_confusion():
    confusion = np.array([[8, 2, 0], [1, 4, 0], [0, 0, 0]])
    found = Evaluation(("a", "b", "c"), 0.5, Confusions.of(confusion))
    assert (found.images, found.accuracy) == (15, 0.8)
    assert found.recall[:2].tolist() == [0.8, 0.8]
    assert np.allclose(found.precision[:2], [8 / 9, 4 / 6])
    assert np.isnan(found.recall[2])
    assert np.isnan(found.precision[2])
    lines = str(found).splitlines()
    assert lines[0] == "accuracy  80.00% (12 of 15)"
    assert lines[1] == "macro F1  78.47%"
    assert lines[6].split() == ["a", "88.9%", "80.0%", "84.2%", "10"]
    assert lines[8].split() == ["c", "-", "-", "-", "0"]
    assert lines[-3].split() == ["a", "8", "2", "0"]
    assert found.to_dict()["classes"][2]["recall"] is None


def test_many_classes_show_the_commonest_mistakes():
    confusion = np.eye(30, dtype=int) * 5
    confusion[3, 4], confusion[9, 2] = 7, 2
    text = str(Evaluation(tuple(map(str, range(30))), 0.1, Confusions.of(confusion)))
    assert "     7  3 taken for 4\n     2  9 taken for 2" in text


def test_what_is_evaluated_is_what_training_measured(trained, run: Run):
    root, history = trained
    finished = run(*command(root, "--data", root / "pets", "--format", "json"))
    assert finished.code == 0, finished.err
    found = json.loads(finished.out)
    assert found["accuracy"] == pytest.approx(history.test_acc_history[-1])
    assert found["accuracy"] > 0.8
    assert [c["name"] for c in found["classes"]] == list(CLASSES)
    assert sum(map(sum, found["confusion"])) == found["images"] == 12
    assert found["part"] == "test"


def test_the_text_names_classes(trained, run: Run):
    root, _ = trained
    finished = run(*command(root, "--data", root / "pets", "--part", "train"))
    assert finished.code == 0
    assert finished.out.startswith("Small on pets: 36 train images\n\naccuracy ")
    assert all(name in finished.out for name in CLASSES)


def test_both_backends_agree(trained, run: Run):
    pytest.importorskip("torch")
    root, _ = trained
    options = ("--data", root / "pets", "--format", "json")
    ours, theirs = (
        json.loads(run(*command(root, *options, "--backend", b)).out) for b in ("numpy", "torch")
    )
    assert ours["confusion"] == theirs["confusion"]
    assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-6)


def test_the_loss_is_the_mean_over_images_however_they_are_batched():
    model = netspec.loads(NET).compile()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(11, 3, 8, 8)).astype(np.float32), np.arange(11) % 3
    as_it_is = Normalization.fit("none", x)
    whole, parts = (evaluate(model, x, y, as_it_is, CLASSES, batch=n) for n in (11, 4))
    assert whole.loss == pytest.approx(model.loss(x, y), rel=1e-5)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    assert (parts.confusion == whole.confusion).all()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--data", "TRAIN"), 1, "--part train"),
        (("--data", "digits"), 1, "3 outputs"),
        (("--set", "classes=4", "--data", "PETS"), 1, "weights/mismatch"),
        (("--weights", "no-such.safetensors", "--data", "PETS"), 1, "no such file"),
    ],
)
def test_what_does_not_fit_is_said(trained, run: Run, options, code, said):
    root, _ = trained
    places = {"TRAIN": root / "pets/train", "PETS": root / "pets"}
    finished = run(*command(root, *(places.get(o, o) for o in options)))
    assert finished.code == code
    assert said in finished.err


def test_weights_without_a_normalization_need_one(trained, run: Run, tmp_path):
    root, _ = trained
    bare = tmp_path / "bare.safetensors"
    netspec.save_weights(bare, netspec.load_weights(root / "w.safetensors").tensors)
    options = ("eval", root / "small.net", "--weights", bare, "--data", root / "pets")
    finished = run(*options)
    assert finished.code == 1
    assert "weights/no-normalization" in finished.err
    finished = run(*options, "--normalize", "channel")
    assert finished.code == 0
    assert "cat" in finished.out  # the names are the data's then


def test_probabilities_add_up_and_refuse_what_is_no_number():
    shares = probabilities(np.array([[1e4, 0.0], [2.0, 2.0]], np.float32))
    assert shares.tolist() == [[1.0, 0.0], [0.5, 0.5]]
    with pytest.raises(netspec.NetspecError, match="model/not-finite"):
        probabilities(np.array([[np.nan, 0.0]]))


def test_more_classes_than_a_table_has_room_for():
    """A language model's vocabulary: accuracy, perplexity, and what occurs."""
    net = netspec.loads(
        "net A(classes = 9000) { input tokens: int[6]\n"
        " output tokens -> embedding(classes, 3) -> linear(classes) }"
    )
    model, rng = net.compile(seed=1), np.random.default_rng(0)
    x, y = rng.integers(0, 9000, (2, 7, 6))
    data = netspec.Dataset("tokens", x, y, x, y, 9000)
    found = model.evaluate(data)
    scores = model.forward(x).astype(float)
    taken = scores.argmax(-1)
    shares = np.log(np.exp(scores).sum(-1)) - np.take_along_axis(scores, y[..., None], -1)[..., 0]
    assert found.perplexity == pytest.approx(np.exp(shares.mean()), rel=1e-4)
    assert found.accuracy == (taken == y).mean()
    assert found.images == 42
    assert found.recall.shape == (9000,)
    text = str(found)
    assert "perplexity" in text
    assert len(text.splitlines()) < 20
    content = found.to_dict()
    assert content["confusion"] is None
    assert len(content["classes"]) == len(set(y.ravel()) | set(taken.ravel()))
    assert "<table>" not in found._repr_html_()
    with pytest.raises(NetspecError, match="at most 4,096"):
        found.confusion  # noqa: B018


def test_images_with_many_scores_are_evaluated_few_at_a_time(monkeypatch):
    net = netspec.loads("net A { input tokens: int[6]\n output tokens -> embedding(50, 50) }")
    model, x = net.compile(), np.random.default_rng(0).integers(0, 50, (9, 6))
    data = netspec.Dataset("tokens", x, x, x, x, 50)
    whole = model.evaluate(data)
    monkeypatch.setattr("netspec.runtime.models.evaluation._MOST_SCORES", 700)
    batches = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda x: batches.append(len(x)) or forward(x))
    few = model.evaluate(data)
    assert max(batches) == 2
    assert (few.confusion == whole.confusion).all()
    assert few.loss == pytest.approx(whole.loss)


@pytest.mark.parametrize("part", ["test", "train"])
def test_mistakes_name_their_files(trained, run: Run, tmp_path, part):
    """All labels are those of another class, so every image is a mistake."""
    root, _ = trained
    turned = tmp_path / "turned"
    names = dict(zip(CLASSES, (*CLASSES[1:], CLASSES[0]), strict=True))
    for path in (root / "pets").glob("*/*/*.png"):
        to = turned / path.parts[-3] / names[path.parent.name] / f"{path.parent.name}-{path.name}"
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())
    options = ("--data", turned, "--mistakes", tmp_path / "m.png", "--part", part)
    found = json.loads(run(*command(root, *options, "--format", "json", "--force")).out)
    assert found["mistakes"]
    for each in found["mistakes"]:
        assert f"/{part}/{each['label']}/{each['taken_for']}-" in each["file"]
    text = run(*command(root, *options, "--force")).out
    assert found["mistakes"][0]["file"] in text


def test_mistakes_of_held_out_images_name_their_files(run: Run, tmp_path):
    make_folder(tmp_path / "pets", train=36, test=0)
    (tmp_path / "pets/train").rename(tmp_path / "flat")
    (tmp_path / "small.net").write_text(NET)
    options = ("--data", tmp_path / "flat", "--val", 12, "--epochs", 1, "--lr", 1e-9, "--quiet",
               "--out", tmp_path / "run")  # fmt: skip
    assert run("train", "numpy", tmp_path / "small.net", *options).code == 0
    mistakes = ("--mistakes", tmp_path / "m.png", "--format", "json")
    finished = run("eval", tmp_path / "run", "--part", "val", *mistakes)
    found = json.loads(finished.out)
    assert found["mistakes"]
    for each in found["mistakes"]:
        assert f"/flat/{each['label']}/" in each["file"]
    none = run("eval", tmp_path / "run")
    assert "--part val takes those that the run held out" in none.err
