"""Suspicious data, and the messages about them: labels, pixels, folders, order, last layers."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.ops import registry
from netspec.diagnostics import NetspecError
from netspec.runtime.data import Dataset
from netspec.runtime.data.suspicions import is_sorted, suspicions
from netspec.runtime.models.evaluation import class_probabilities, probabilities
from netspec.testing.op_examples import graph_of, random_inputs, random_parameters, run_reference

RNG = np.random.default_rng(0)
LINEAR = "net N {{\n    input x: [4]\n    output x -> linear({outputs}){tail}\n}}"


def data(y_train, y_test=(), *, classes=None, names=(), x_train=None, x_test=None) -> Dataset:
    y_train, y_test = np.asarray(y_train), np.asarray(y_test, int)
    x_train = RNG.standard_normal((len(y_train), 4)) if x_train is None else x_train
    x_test = RNG.standard_normal((len(y_test), 4)) if x_test is None else x_test
    classes = classes or int(y_train.max()) + 1
    return Dataset("mine", x_train, y_train, x_test, y_test, classes, names)


def refused(raised: pytest.ExceptionInfo[NetspecError]) -> str:
    return str(raised.value)


# ------------------------------------------------------------------------------------------ labels


def test_labels_from_1_are_not_mended_by_one_more_output():
    with pytest.raises(NetspecError) as raised:
        data(np.arange(40) % 10 + 1).check_classes(10)
    assert "labels from 1 to 10" in refused(raised)
    assert "no image of class 0" in refused(raised)
    assert "subtract 1" in refused(raised)
    assert "11 outputs" not in refused(raised)


def test_labels_from_1_with_an_output_too_many_are_pointed_out():
    (said,) = suspicions(data(np.arange(40) % 10 + 1))
    assert "labels start at 0" in said


def test_classes_that_start_at_1_because_0_is_a_blank_are_no_mistake():
    right = data(np.arange(40) % 10 + 1)
    assert not list(suspicions(right, first=1))
    right.check_classes(11, first=1)
    with pytest.raises(NetspecError) as raised:
        right.check_classes(10, first=1)
    assert "11 classes, the network only 10 outputs" in refused(raised)
    assert "subtract" not in refused(raised)
    (said,) = suspicions(data(np.arange(40) % 10 + 2), first=1)
    assert "labels start at 1, and no image is of class 1" in said


def test_a_class_without_images_is_named():
    with pytest.raises(NetspecError) as raised:
        data([0, 1, 3, 3], classes=4, names=("a", "b", "x", "d")).check_classes(3)
    assert "no training image of `x`" in refused(raised)
    with pytest.raises(NetspecError) as raised:
        data([0, 1, 3, 3]).check_classes(3)
    assert "no training image of 2" in refused(raised)


def test_more_classes_than_outputs_is_still_what_it_was():
    with pytest.raises(NetspecError, match="give the last layer 4 outputs"):
        data([0, 1, 2, 3]).check_classes(3)


@pytest.mark.parametrize("kind", [int, float, bool])
def test_one_hot_labels_of_any_type_get_the_same_help(kind):
    with pytest.raises(NetspecError, match=r"y\.argmax\(axis=1\)"):
        data(np.eye(3)[[0, 1, 2, 2]].astype(kind), classes=3).check_targets((), "the output")


def test_whole_labels_in_floats_get_their_help():
    with pytest.raises(NetspecError, match=r"y\.astype\(int\)"):
        data(np.array([0.0, 1.0, 2.0]), classes=3)
    with pytest.raises(NetspecError) as raised:
        data(np.array([0.5, 1.0, 2.0]), classes=3)
    assert "astype" not in refused(raised)


@pytest.mark.parametrize(
    ("labels", "help"),
    [
        ([-1, 0, 8], "add 1 to all of them; or, if -1 stands for no label"),
        ([-3, 0, 2], "add 3 to all of them"),
        ([-1, 1, 1], r"\(y \+ 1\) // 2"),
        ([1, 2, 3], "subtract 1 from all of them"),
        ([5, 6, 7], "subtract 5 from all of them"),
    ],
)
def test_labels_that_are_counted_from_elsewhere_get_their_help(labels, help):
    """In a data set, and in the loss of a model."""
    with pytest.raises(NetspecError, match=help):
        data(labels, classes=3)
    model = netspec.loads(LINEAR.format(outputs=3, tail="")).compile()
    with pytest.raises(NetspecError, match=help):
        model.loss(np.zeros((3, 4)), np.array(labels))


def test_labels_too_large_get_no_wrong_help():
    with pytest.raises(NetspecError) as raised:
        data([0, 1, 3], classes=3)
    assert "run from 0 to 3; 3 classes have labels 0 to 2" in refused(raised)
    assert not raised.value.diagnostics[0].hints


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float64])
def test_one_hot_labels_of_a_file_are_told_so(kind, tmp_path, run, write):
    hot = np.eye(3)[[0, 1, 2, 1]].astype(kind)
    x = np.zeros((4, 4), np.float32)
    np.savez(tmp_path / "hot.npz", x_train=x, y_train=hot, x_test=x, y_test=hot)
    net = write(LINEAR.format(outputs=3, tail=""))
    told = run("train", "numpy", net, "--data", str(tmp_path / "hot.npz"), "--out", "none").err
    assert "y_train has shape [4, 3]" in told
    assert "y.argmax(axis=1)" in told


@pytest.mark.parametrize(
    ("labels", "help"),
    [
        (np.eye(3), r"y\.argmax\(axis=1\)"),
        (np.zeros((3, 1), int), r"y\[:, 0\]"),
        (np.zeros(3), r"y\.astype\(int\)"),
        (np.zeros(2, int), "need 3 whole numbers as targets, one per row"),
    ],
)
def test_targets_of_another_shape_get_their_help_from_a_loss(labels, help):
    model = netspec.loads(LINEAR.format(outputs=3, tail="")).compile()
    with pytest.raises(NetspecError, match=help):
        model.loss(np.zeros((3, 4)), labels)


@pytest.mark.parametrize(
    ("shape", "help"),
    [
        ((6, 784), r"reshape\(-1, 1, 28, 28\)"),
        ((6, 28, 28, 1), r"np.transpose\(\w+, \(0, 3, 1, 2\)\)"),
        ((1, 28, 28), r"`image\[None\]`"),
    ],
)
def test_pictures_of_another_layout_get_their_help(shape, help):
    net = netspec.loads("net N { input image: [1, 28, 28]\n output image -> flatten -> linear(2) }")
    with pytest.raises(NetspecError, match=help):
        net.compile().predict(np.zeros(shape, np.float32))
    if len(shape) > 3 or shape == (6, 784):
        with pytest.raises(NetspecError, match=help):
            data([0, 1] * 3, x_train=np.zeros(shape), x_test=np.zeros((0, *shape[1:]))).fit_to(
                (1, 28, 28)
            )


# ------------------------------------------------------------------------------------------ pixels


def test_bytes_for_training_and_fractions_for_testing_are_refused():
    pixels = RNG.integers(0, 256, (6, 4)).astype(np.uint8)
    for train, test in ((pixels, pixels / 255.0), (pixels / 255.0, pixels)):
        with pytest.raises(NetspecError, match="two different kinds of pixels"):
            data([0, 1] * 3, [0, 1] * 3, x_train=train, x_test=test)
    data([0, 1] * 3, [0, 1] * 3, x_train=pixels, x_test=pixels.astype(np.float32))
    flags = np.zeros((6, 4), np.uint8)
    flags[:, 0] = 1
    data([0, 1] * 3, [0, 1] * 3, x_train=flags, x_test=flags / 2.0)


# ------------------------------------------------------------------------------------------- order


@pytest.mark.parametrize(("val", "limit", "option"), [(8, None, "--val"), (0, 10, "--train-limit")])
def test_sorted_images_are_pointed_out_where_it_matters(val, limit, option):
    in_order = np.repeat(np.arange(4), 10)
    (said,) = suspicions(data(in_order), val, limit)
    assert "sorted by class" in said
    assert option in said
    assert not list(suspicions(data(in_order)))
    assert not list(suspicions(data(RNG.permutation(in_order)), val, limit))


def test_what_is_sorted():
    assert is_sorted(np.repeat([2, 0, 1], 20))
    assert not is_sorted(np.arange(60) % 3)
    assert not is_sorted(np.zeros(60, int))  # one class has no other order
    assert not is_sorted(np.repeat([0, 1], 5))  # too few to tell
    rare = np.zeros(1000, int)
    rare[RNG.integers(0, 1000, 20)] = 1
    assert not is_sorted(rare)


# ----------------------------------------------------------------------------------------- folders


def picture(path: Path, level: int = 100) -> None:
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(np.full((4, 4), level, np.uint8)).save(path)


def test_pictures_below_the_folder_of_their_class_are_read(tmp_path):
    picture(tmp_path / "pets/cat/2021/a.png")
    picture(tmp_path / "pets/cat/2022/b.png")
    picture(tmp_path / "pets/dog/c.png")
    (tmp_path / "pets/dog/again").symlink_to(tmp_path / "pets/dog")
    found = netspec.load_data(tmp_path / "pets")
    assert np.bincount(found.y_train).tolist() == [2, 1]


def test_an_empty_folder_of_a_class_is_named(tmp_path):
    picture(tmp_path / "pets/cat/a.png")
    (tmp_path / "pets/x").mkdir()
    with pytest.raises(NetspecError, match="no training picture of the class `x`"):
        netspec.load_data(str(tmp_path / "pets"))


def test_files_that_are_skipped_are_counted(tmp_path):
    picture(tmp_path / "pets/cat/a.png")
    picture(tmp_path / "pets/dog/b.png")
    for name in ("c.gif", "d.gif", "list"):
        (tmp_path / "pets/dog" / name).write_text("")
    (said,) = suspicions(netspec.load_data(tmp_path / "pets"))
    assert "3 files" in said
    assert "2 .gif, 1 without a suffix" in said


def test_all_pictures_that_cannot_be_read_are_named(tmp_path):
    picture(tmp_path / "pets/cat/a.png")
    for name in ("b.png", "c.jpg"):
        (tmp_path / "pets/cat" / name).write_bytes(b"nothing")
    with pytest.raises(NetspecError) as raised:
        netspec.load_data(tmp_path / "pets")
    assert "b.png" in refused(raised)
    assert "c.jpg" in refused(raised)
    assert len(raised.value.diagnostics) == 2


# ------------------------------------------------------------------------------- texts and things


def test_folders_of_data_are_given_as_text_too(tmp_path):
    with pytest.raises(NetspecError) as raised:
        netspec.load_data("fashion-mnist", data_dir=str(tmp_path / "none"))
    assert {d.code for d in raised.value.diagnostics} == {"data/missing-file"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda net, model, d: netspec.fit(net, d), "compile it"),
        (lambda net, model, d: netspec.fit(model, (d.x_train, d.y_train)), "netspec.Dataset"),
        (lambda net, model, d: netspec.fit(model, "digits"), "netspec.load_data('digits')"),
        (lambda net, model, d: netspec.fit(None, d), "not a NoneType"),
        (lambda net, model, d: net(d.x_train), "compile it"),
    ],
    ids=["a net", "arrays", "a name", "nothing", "a net called"],
)
def test_what_is_wanted_is_said_where_something_else_is_given(wrong, said):
    net = netspec.loads(LINEAR.format(outputs=2, tail=""))
    with pytest.raises(NetspecError) as raised:
        wrong(net, net.compile(), data([0, 1] * 4))
    assert said in refused(raised)


# ------------------------------------------------------------------------------------------- heads


@pytest.mark.parametrize(
    ("tail", "outputs", "said"),
    [
        (" -> softmax", 2, "the loss applies a softmax itself"),
        (" -> relu", 2, "gives nothing below 0"),
        (" -> sigmoid", 2, "gives nothing outside [0, 1]"),
        ("", 5, "has 5 outputs and the data 2 classes\n"),
        (" -> flatten", 5, "5 outputs and the data 2 classes: end it with `-> linear(2)`"),
    ],
)
def test_an_unfit_last_layer_is_pointed_out_before_training(tail, outputs, said, caplog):
    model = netspec.loads(LINEAR.format(outputs=outputs, tail=tail)).compile()
    with caplog.at_level(logging.WARNING, "netspec"):
        netspec.fit(model, data([0, 1] * 8), epochs=1)
    assert said in caplog.text


@pytest.mark.parametrize("tail", ["", " -> log_softmax", " -> relu -> linear(2)"])
def test_a_fit_last_layer_gives_no_warning(tail, caplog):
    model = netspec.loads(LINEAR.format(outputs=2, tail=tail)).compile()
    with caplog.at_level(logging.WARNING, "netspec"):
        netspec.fit(model, data([0, 1] * 8), epochs=1)
    assert not caplog.text


def test_squared_error_takes_any_outputs(caplog):
    model = netspec.loads(LINEAR.format(outputs=2, tail=" -> sigmoid")).compile()
    with caplog.at_level(logging.WARNING, "netspec"):
        netspec.fit(model, data([0, 1] * 8), epochs=1, loss="mse")
    assert not caplog.text


def test_probabilities_of_a_net_that_ends_in_a_softmax_are_its_own():
    text = LINEAR.format(outputs=3, tail="")
    plain, ends = netspec.loads(text), netspec.loads(LINEAR.format(outputs=3, tail=" -> softmax"))
    x = RNG.standard_normal((5, 4)).astype(np.float32)
    bare, own = plain.compile(seed=1), ends.compile(seed=1)
    expected = probabilities(bare.forward(x))
    np.testing.assert_allclose(class_probabilities(bare, x), expected, atol=1e-6)
    np.testing.assert_allclose(class_probabilities(own, x), expected, atol=1e-6)


@pytest.mark.parametrize(
    "name", [n for n, op in registry().items() if op.value_range != (-np.inf, np.inf)]
)
def test_values_keep_to_the_range_that_an_op_states(name):
    op = registry()[name]
    for example in op.examples:
        graph = graph_of(example.call, example.inputs)
        inputs = {k: 20 * v for k, v in random_inputs(graph, 3).items()}
        shape = graph.nodes[-1].shape
        dy = {"output": np.zeros((3, *shape))}
        parameters = random_parameters(graph)
        y = run_reference(graph, parameters, inputs, dy, training=False).outputs["output"]
        least, largest = op.value_range
        assert least <= y.min()
        assert y.max() <= largest
        if op.is_distribution:
            assert y.min() >= 0
