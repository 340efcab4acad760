"""`netspec.testing.check_layer`: right layers pass, and each planted fault is named."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.ops import registry
from netspec.kernels.course import fast, naive, sandwich
from netspec.runtime.engine.reference import Reference
from netspec.testing import LayerMismatchError, check_layer
from netspec.testing.courses import PARTS, SANDWICHES, parts_of
from netspec.testing.layer import Layer
from tests.helpers import course_layers

SOURCE = Path(course_layers.__file__).read_text("utf-8")

LIKE = (
    "affine", "relu", "affine_relu", "conv", "max_pool", "batchnorm", "spatial_batchnorm",
    "layernorm", "spatial_groupnorm", "dropout",
)  # fmt: skip


def pair(module, like: str):
    return getattr(module, f"{like}_forward"), getattr(module, f"{like}_backward")


# --------------------------------------------------------------------------------- right layers pass


@pytest.mark.parametrize("like", LIKE)
def test_a_right_solution_passes(like):
    for seed in range(3):
        report = check_layer(*pair(course_layers, like), like=like, seed=seed)
        assert report.ok, report
        assert report


@pytest.mark.parametrize("like", ["softmax_loss", "svm_loss"])
def test_a_right_loss_passes(like):
    assert check_layer(getattr(course_layers, like), like=like).ok


@pytest.mark.parametrize("module", [naive, fast], ids=["naive", "fast"])
@pytest.mark.parametrize("like", ["conv", "max_pool", "avg_pool"])
def test_the_naive_and_the_fast_layers_pass(module, like):
    assert check_layer(*pair(module, like), like=like).ok


@pytest.mark.parametrize("like", [name for name in SANDWICHES if name != "affine_ln_relu"])
def test_the_sandwich_kernels_pass(like):
    report = check_layer(*pair(sandwich, like), like=like)
    assert report.ok, report


def reference_pair(like: str):
    """Return forward(x, weight, bias) and its backward, from the reference of an op."""
    parts = parts_of(like)
    layer = Layer(parts, parts[0][1].shapes, (parts[0][1].attributes,))
    graph = layer.graph

    def forward(*arrays):
        inputs = dict(zip(graph.inputs, arrays, strict=False))
        rest = arrays[len(inputs) :]
        names = [placed.full(a.parameter) for placed, a in layer.arguments()]
        reference = Reference(graph, dict(zip(names, rest, strict=True)), training=not layer.random)
        return reference.forward(inputs)["output"], (reference, names)

    def backward(dout, cache):
        reference, names = cache
        gradients = reference.backward({"output": dout})
        return (
            *(reference.value_gradients[name] for name in graph.inputs),
            *(gradients[name] for name in names),
        )

    return forward, backward


@pytest.mark.parametrize("like", [name for name in registry() if name not in PARTS])
def test_every_other_op_can_be_checked(like):
    report = check_layer(*reference_pair(like), like=like)
    assert report.ok, report


@pytest.mark.parametrize(
    ("like", "options"),
    [
        ("conv", {"stride": 3, "pad": 2, "kernel": [2, 3]}),
        ("conv", {"shape": (2, 3, 5, 5), "channels": 2, "pad": "same"}),
        ("max_pool", {"kernel": [2, 3], "stride": 2}),
        ("batchnorm", {"eps": 1e-3, "momentum": 0.3}),
        ("batchnorm", {"training": False}),
        ("spatial_groupnorm", {"groups": 3}),
        ("dropout", {"p": 0.8}),
        ("affine", {"shape": (5, 6), "features": 4}),
    ],
)
def test_options_are_attributes(like, options):
    report = check_layer(*pair(course_layers, like), like=like, **options)
    assert report.ok, report
    assert len(report.cases) <= 2


def test_arrays_can_be_given():
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 3, 5, 5)), rng.standard_normal((2, 3, 2, 2))
    report = check_layer(*pair(course_layers, "conv"), like="conv", inputs={"x": x, "w": w})
    assert report.ok
    assert report.cases[0].title == "conv(2, 2) on x [2, 3, 5, 5]"


def test_an_attribute_goes_to_its_part():
    report = check_layer(
        *pair(sandwich, "conv_relu_pool"), like="conv_relu_pool",
        stride=1, pad=1, max_pool={"kernel": 3, "stride": 2},
    )  # fmt: skip
    assert report.ok, report
    assert "max_pool(3, stride = 2)" in str(report)


# ------------------------------------------------------------------------------------ planted faults


def broken(tmp_path: Path, old: str, new: str):
    """Write the course's solution with one place changed, as a file of its own."""
    assert SOURCE.count(old) >= 1, old
    path = tmp_path / "solution.py"
    path.write_text(SOURCE.replace(old, new), "utf-8")
    spec = importlib.util.spec_from_file_location("solution", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FAULTS = [
    # layer, right text, wrong text, argument, hint
    ("conv", "db[f] += dout[n, f].sum()", "db[f] = dout[n, f].sum()", "db", "last image alone"),
    ("conv", "dw[f] += dout", "dw[f] = dout", "dw", "replaces those before"),
    ("conv", "dx = dpadded[:, :, pad : pad + H, pad : pad + W]", "dx = dpadded", "dx",
     "padding is still there"),
    ("conv", "np.sum(window * w[f])", "np.sum(window * w[f, :, ::-1, ::-1])", "out", "flipped"),
    ("conv", "+ b[f]", "", "out", "`b` is not added"),
    ("conv", "dx = dpadded[:, :, pad : pad + H, pad : pad + W]",
     "dx = np.roll(dpadded, 1, 2)[:, :, pad : pad + H, pad : pad + W]", "dx", "shifted by [1, 0]"),
    ("conv", "dpadded[n, :, rows, columns] += ", "dpadded[n, :, rows, columns] = ", "dx",
     "windows overlap"),
    ("conv", "db[f] += dout[n, f].sum()", "db[f] += dout[n, f].mean()", "db", "it is a mean: take"),
    ("conv", "db[f] += dout[n, f].sum()", "db[f] += dout[:, f].mean() / N", "db", "is the mean of dout"),
    ("conv", "db[f] += dout[n, f].sum()", "db[f] = dout[n, f, -1, -1]", "db", "last number of dout"),
    ("conv", "for j in range(dout.shape[3]):", "db[f] = dout[:, f, -1, -1].sum(); "
     "\n                for j in range(dout.shape[3]):", "db", "dout at the last place"),
    ("affine", "db = dout.sum(axis=0)", "db = dout.mean(axis=0)", "db", "divided by the number of"),
    ("affine", "db = dout.sum(axis=0)", "db = dout[-1]", "db", "last image alone"),
    ("affine", "db = dout.sum(axis=0)", "db = dout", "db", "sum it over the axes [0]"),
    ("affine", "T.dot(dout)\n", "T.dot(dout).T\n", "dw", "transposed"),
    ("affine", "T.dot(dout)\n", "T.dot(np.ones_like(dout))\n", "dw", "not multiplied by dout"),
    ("affine", "dx = dout.dot(w.T).reshape(x.shape)", "dx = -dout.dot(w.T).reshape(x.shape)", "dx",
     "sign"),
    ("affine", "dx = dout.dot(w.T).reshape(x.shape)", "dx = dout.dot(w.T)", "dx", "reshape to"),
    ("affine", "db = dout.sum(axis=0)", "db = np.zeros_like(b)", "db", "all zeros"),
    ("affine", "db = dout.sum(axis=0)", "db = dout.sum(axis=0) * np.nan", "db", "not finite"),
    ("affine", "db = dout.sum(axis=0)", "db = dout.sum(axis=0).astype(np.float16)", "db",
     "type float16"),
    ("affine", "db = dout.sum(axis=0)", "db = dout.sum(axis=0).astype(int)", "db", "type int64"),
    ("relu", "dx = dout * (x > 0)", "dx = dout", "dx", "passed on unchanged"),
    ("relu", "dx = dout * (x > 0)", "dx = dout * (dout > 0)", "dx", "where dout > 0"),
    ("affine_relu", "da = relu_backward(dout, relu_cache)", "da = dout", "dw",
     "relu's gradient is left out"),
    ("max_pool", "+= dout[n, c, i, j]\n    return", "= dout[n, c, i, j]\n    return", "dx",
     "gradients add up"),
    ("batchnorm", "dx_hat.mean(axis=0) - x_hat", "0 * dx_hat - x_hat", "dx",
     "through the mean is left out"),
    ("batchnorm", "- x_hat * (dx_hat * x_hat).mean(axis=0)) / std", ") / std", "dx",
     "through the variance is left out"),
    ("batchnorm", "x_hat).mean(axis=0)) / std", "x_hat).mean(axis=0)) / std * gamma", "dx",
     "`gamma` is multiplied in twice"),
    ("batchnorm", "dx_hat = dout * gamma", "dx_hat = dout", "dx", "`gamma` is left out"),
    ("batchnorm", "x.var(axis=0)", "x.var(axis=0, ddof=1)", "out", "n - 1"),
    ("batchnorm", "std = np.sqrt(var + eps)", "std = np.sqrt(var) + eps", "out", "eps is added to"),
    ("batchnorm", 'bn_param["running_var"] = momentum', 'running_var = momentum', "running_var",
     "store it again"),
    ("batchnorm", 'momentum * running_mean + (1 - momentum) * mean',
     '(1 - momentum) * running_mean + momentum * mean', "running_mean", "share of the old"),
    ("batchnorm", "(1 - momentum) * var\n", "(1 - momentum) * x.var(axis=0, ddof=1)\n",
     "running_var", "unbiased"),
    ("layernorm", "(g - level - x_hat * along)", "(g - x_hat * along)", "dx", "through the mean"),
    ("spatial_groupnorm", "(g - level - x_hat * along)", "(g - level)", "dx", "the variance is"),
    ("spatial_groupnorm", "g = (dout * gamma).reshape", "g = (dout * gamma**2).reshape", "dx",
     "`gamma` is multiplied in twice"),
    ("spatial_groupnorm", "dout.sum(axis=(0, 2, 3), keepdims=True)\n\n", "dout.sum(axis=(0, 2, 3))\n\n",
     "dbeta", "reshape to [1, 6, 1, 1]"),
    ("dropout", "< p) / p", "< p)", "out", "p, the probability to keep"),
    ("dropout", "return dout * mask", "return dout", "dx", "passed on unchanged"),
    ("dropout", "< p) / p", "< p)", "out", "1.43 times too small: divide by p"),
    ("dropout", "< p) / p", "< p) / p / p", "out", "1.43 times too large: divided by p"),
    ("max_pool", "out[:, :, i, j] = window.max(axis=(2, 3))",
     "out[:, :, i * stride : i * stride + HH, j * stride : j * stride + WW] = "
     "window.max(axis=(2, 3))[:, :, None, None]", "out",
     "written to a whole window of `out`"),
    ("max_pool", "window.max(axis=(2, 3))", "window.mean(axis=(2, 3))", "out",
     "it is the mean of each window"),
    ("max_pool", "dx[n, c, i * stride + k, j * stride + m] += dout[n, c, i, j]",
     "part = np.zeros_like(window); part[k, m] = dout[n, c, i, j]; "
     "dx[n, c, i * stride : i * stride + HH, j * stride : j * stride + WW] = part",
     "dx", "its zeros too"),
    ("conv", "dx = dpadded[:, :, pad : pad + H, pad : pad + W]",
     "dx = dpadded[:, :, pad:-pad, pad:-pad]", "dx", "is empty for pad = 0"),
    ("conv", "dx = dpadded[:, :, pad : pad + H, pad : pad + W]", "dx = dpadded", "dx",
     "dx[:, :, pad:pad + H, pad:pad + W]"),
    ("conv", "return dx, dw, db", "return dx, db, dw", "db", "it is dw: return dx, dw, db"),
    ("affine", "return dx, dw, db", "return dx, db, dw", "dw", "it is db: return dx, dw, db"),
    ("batchnorm", "return dx, dgamma, dbeta", "return dx, dbeta, dgamma", "dgamma",
     "it is dbeta: return dx, dgamma, dbeta"),
    ("batchnorm", "gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta",
     "gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps) + beta", "out",
     "the batch's statistics are used at test time"),
    ("batchnorm", "gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta",
     "(x - running_mean) / np.sqrt(running_var + eps)", "out", "`gamma` and `beta` are left out"),
    ("batchnorm", "np.sqrt(running_var + eps)", "(np.sqrt(running_var) + eps)", "out",
     "eps is added to the standard deviation"),
    ("batchnorm", "np.sqrt(running_var + eps)", "np.sqrt(running_var - eps)", "out",
     "eps is subtracted"),
    ("batchnorm", "std = np.sqrt(var + eps)", "std = np.sqrt(var - eps)", "out",
     "eps is subtracted"),
    ("batchnorm", "x_hat = (x - mean) / std", "x_hat = (x - mean) / np.sqrt(var) + eps", "out",
     "eps is added to the quotient"),
    ("batchnorm", "mean, var = x.mean(axis=0), x.var(axis=0)",
     "mean, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)", "out",
     "each image's own: they are over the batch"),
    ("layernorm", "mean, var = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)",
     "mean, var = x.mean(axis=0, keepdims=True), x.var(axis=0, keepdims=True)", "out",
     "over the batch, axis 0: they are each image's own"),
    ("spatial_batchnorm", "return out.reshape(N, H, W, C).transpose(0, 3, 1, 2), cache",
     "return out.reshape(N, C, H, W), cache", "out", "the channels are not moved back"),
    ("spatial_batchnorm", "return dx.reshape(N, H, W, C).transpose(0, 3, 1, 2), dgamma",
     "return dx.reshape(N, C, H, W), dgamma", "dx", "the channels are not moved back"),
    ("spatial_batchnorm",
     "dx = (dx_hat - dx_hat.mean(axis=0) - x_hat * (dx_hat * x_hat).mean(axis=0)) / std",
     "dx = (dx_hat - dx_hat.sum(axis=0) / 3 - x_hat * (dx_hat * x_hat).sum(axis=0) / 3) / std",
     "dx", "divided by N = 3: a mean is over N H W = 90 numbers"),
    ("relu", "dx = dout * (x > 0)", "dx = dout * (x >= 0)", "dx", "through where its input is 0"),
]  # fmt: skip


@pytest.mark.parametrize(("like", "old", "new", "argument", "hint"), FAULTS)
def test_a_fault_is_named(tmp_path, like, old, new, argument, hint):
    module = broken(tmp_path, old, new)
    report = check_layer(*pair(module, like), like=like)
    assert not report.ok
    names = {c.name for c in report.differing}
    assert argument in names, report
    hints = [h for c in report.differing if c.name == argument for h in c.hints]
    assert any(hint in h for h in hints) if hint else True, report
    if argument.startswith("d"):
        assert "out" not in names, report


def test_every_hint_of_a_window_in_out_is_true(tmp_path):
    """The interior of the wrong result is that of the right one, shifted. Its edges are not."""
    fault = next(f for f in FAULTS if f[4] == "written to a whole window of `out`")
    report = check_layer(*pair(broken(tmp_path, *fault[1:3]), "max_pool"), like="max_pool")
    hints = [hint for c in report.differing if c.name == "out" for hint in c.hints]
    assert hints
    assert all("written to a whole window" in hint for hint in hints), report


def test_channels_that_are_not_moved_before_a_reshape():
    def forward(x, gamma, beta, bn_param):
        rows = x.reshape(-1, x.shape[1])
        out, cache = course_layers.batchnorm_forward(rows, gamma, beta, bn_param)
        return out.reshape(x.shape), cache

    def backward(dout, cache):
        rows = dout.reshape(-1, dout.shape[1])
        dx, dgamma, dbeta = course_layers.batchnorm_backward(rows, cache)
        return dx.reshape(dout.shape), dgamma, dbeta

    report = check_layer(forward, backward, like="spatial_batchnorm")
    wrong = {c.name: c.hints for c in report.cases[0].comparisons if not c.ok}
    assert set(wrong) == {"out", "dx", "dgamma", "dbeta", "running_mean", "running_var"}
    for name in ("out", "dx", "dgamma", "dbeta"):
        assert any("not moved to the end before x is reshaped" in hint for hint in wrong[name]), (
            name
        )


@pytest.mark.parametrize(
    ("kind", "old", "new", "argument", "hint"),
    [
        ("avg_pool", "np.mean(x[n, c, rows, columns])", "np.max(x[n, c, rows, columns])", "out",
         "it is the maximum of each window"),
        ("avg_pool", "+= dout[n, c, i, j] / (tall * wide)", "= dout[n, c, i, j] / (tall * wide)",
         "dx", "each window is assigned whole"),
    ],
)  # fmt: skip
def test_a_fault_of_an_average_pool_is_named(tmp_path, kind, old, new, argument, hint):
    text = Path(naive.__file__).read_text("utf-8")
    assert old in text
    path = tmp_path / "pools.py"
    path.write_text(text.replace(old, new), "utf-8")
    spec = importlib.util.spec_from_file_location("pools", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    report = check_layer(*pair(module, kind), like=kind)
    hints = [h for c in report.differing if c.name == argument for h in c.hints]
    assert any(hint in h for h in hints), report


ALL_MAXIMA = (
    "k, m = np.unravel_index(window.argmax(), window.shape)\n"
    "                    dx[n, c, i * stride + k, j * stride + m] += dout[n, c, i, j]",
    "rows, columns = slice(i * stride, i * stride + HH), slice(j * stride, j * stride + WW)\n"
    "                    dx[n, c, rows, columns] += (window == window.max()) * dout[n, c, i, j]",
)


def test_ties_in_a_max_pool_are_tried(tmp_path):
    report = check_layer(*pair(broken(tmp_path, *ALL_MAXIMA), "max_pool"), like="max_pool")
    assert not report.differing
    (fault,) = report.cases[0].faults
    assert fault.startswith(
        "where 2 numbers of a window are equal and the largest, dx adds up to 2"
    )
    assert str(report).startswith("max_pool: NOT equal to netspec's\n")


@pytest.mark.parametrize(
    "share",
    [
        "(window == window.max()) / (window == window.max()).sum()",
        "(np.arange(window.size)[::-1] == window[::-1, ::-1].argmax()).reshape(window.shape)",
    ],
    ids=["shared out", "the last"],
)
def test_a_tie_may_go_to_any_of_the_maxima(tmp_path, share):
    old, new = ALL_MAXIMA
    module = broken(tmp_path, old, new.replace("(window == window.max())", share))
    report = check_layer(*pair(module, "max_pool"), like="max_pool", kernel=2)
    assert report.ok, report


def test_a_dropout_whose_p_is_the_probability_to_drop(tmp_path):
    """As in the assignments of 2016 and 2017."""
    module = broken(tmp_path, "< p) / p", ">= p) / (1 - p)")
    report = check_layer(*pair(module, "dropout"), like="dropout")
    assert report.ok, report
    assert (
        "note: p = 0.7 is taken as the probability to drop, as in the assignments of 2016"
        in str(report)
    )
    assert "note" not in str(check_layer(*pair(course_layers, "dropout"), like="dropout"))


@pytest.mark.parametrize(
    ("like", "old", "new", "argument", "hint"),
    [
        ("softmax_loss", "    dx /= N\n", "", "dx", "divide by the number of images"),
        ("softmax_loss", "np.arange(N), y])) / N", "np.arange(N), y]))", "loss", "divide by the"),
        ("softmax_loss", "dx[np.arange(N), y] -= 1\n", "pass\n", "dx", "1 is not subtracted"),
        ("svm_loss", "    margins[np.arange(N), y] = 0\n", "", "loss", "the right class counts"),
        ("svm_loss", "dx[np.arange(N), y] -= dx.sum(axis=1)\n", "pass\n", "dx", "no gradient"),
    ],
)
def test_a_fault_of_a_loss_is_named(tmp_path, like, old, new, argument, hint):
    report = check_layer(getattr(broken(tmp_path, old, new), like), like=like)
    (comparison,) = [c for c in report.differing if c.name == argument]
    assert any(hint in h for h in comparison.hints), report


def test_a_factor_of_one_number_is_no_hint(tmp_path):
    odd = broken(tmp_path, "np.arange(N), y])) / N", "np.arange(N), y])) / N + 0.3")
    report = check_layer(odd.softmax_loss, like="softmax_loss")
    (comparison,) = report.differing
    assert comparison.name == "loss"
    assert not any("everywhere" in hint for hint in comparison.hints), report


def test_a_solution_with_one_wrong_gradient(tmp_path):
    """The report names the argument, the worst index, and both values."""
    module = broken(tmp_path, "db[f] += dout[n, f].sum()", "db[f] = dout[n, f].sum()")
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 3, 5, 5)), rng.standard_normal((2, 3, 3, 3))
    dout = rng.standard_normal((4, 2, 5, 5))
    inputs = {"x": x, "w": w, "dout": dout}
    report = check_layer(*pair(module, "conv"), like="conv", inputs=inputs, stride=1, pad=1)
    (wrong,) = report.differing
    right, found = dout.sum(axis=(0, 2, 3)), dout[-1].sum(axis=(1, 2))
    worst = int(np.abs(right - found).argmax())
    assert wrong.name == "db"
    assert wrong.index == (worst,)
    assert wrong.value == found[worst]
    assert wrong.expected == pytest.approx(right[worst])
    text = str(report)
    assert text.startswith("conv: NOT equal to netspec's: db\n")
    assert f"worst at db[{worst}]: yours {found[worst]:.9g}, netspec's {right[worst]:.9g}" in text
    assert "hint: it is the gradient of the last image alone: add up over the batch" in text
    assert len(re.findall(r"\bok\b", text)) == 3


# ---------------------------------------------------------------------------- faults besides numbers


def test_an_exception_is_shown_with_its_place(tmp_path):
    module = broken(tmp_path, "dw = x.reshape(x.shape[0], -1).T.dot(dout)", "dw = x.dot(dout)")
    report = check_layer(*pair(module, "affine"), like="affine")
    (fault,) = report.cases[0].faults
    assert fault.startswith("affine_backward raises ValueError: shapes (4,2,3,5)")
    assert re.search(r"at .*solution\.py:\d+: dw = x\.dot\(dout\)$", fault)
    assert [c.name for c in report.cases[0].comparisons] == ["out"]


def test_what_would_end_the_program_ends_one_call(tmp_path):
    module = broken(tmp_path, "db = dout.sum(axis=0)", "raise SystemExit(0)")
    report = check_layer(*pair(module, "affine"), like="affine")
    assert report.cases[0].faults[0].startswith("affine_backward ends the program (SystemExit)")
    assert repr(report) == "<netspec.testing.LayerReport of affine: NOT equal>"
    assert "<pre" in report._repr_html_()
    interrupted = broken(tmp_path, "db = dout.sum(axis=0)", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        check_layer(*pair(interrupted, "affine"), like="affine")


@pytest.mark.parametrize(
    ("forward", "backward", "message"),
    [
        (lambda x: None, None, "must return (out, cache), not None"),
        (lambda x: x, None, "must return (out, cache), not one array of shape [4, 7]"),
        (lambda x: (x, x, x), None, "must return (out, cache), not 3 values"),
        (lambda x: (None, x), None, "`out` is None, not an array of numbers"),
        (lambda x, w: (x, x), None, "raises TypeError"),
        (course_layers.relu_forward, lambda d, c: (d, d), "must return dx, not 2 values"),
        (course_layers.relu_forward, lambda d, c: None, "`dx` is None"),
    ],
)
def test_a_result_of_the_wrong_kind(forward, backward, message):
    report = check_layer(forward, backward, like="relu")
    assert not report.ok
    assert message in report.cases[0].faults[0]


def test_inputs_changed_in_place(tmp_path):
    module = broken(tmp_path, "out = np.maximum(x, 0)\n", "out = np.maximum(x, 0, out=x)\n")
    report = check_layer(*pair(module, "relu"), like="relu")
    assert not report.differing
    assert "relu_forward changes `x` in place" in report.cases[0].faults[0]
    assert str(report).startswith("relu: equal to netspec's, but see FAULT\n")


def test_dout_changed_in_place():
    def backward(dout, cache):
        dout[cache <= 0] = 0
        return dout

    report = check_layer(course_layers.relu_forward, backward, like="relu")
    assert not report.differing
    assert "changes `dout` in place" in report.cases[0].faults[0]


def test_a_cache_that_calls_share():
    kept = {}

    def forward(x):
        kept["x"] = x
        return np.maximum(x, 0), None

    report = check_layer(forward, lambda dout, _: dout * (kept["x"] > 0), like="relu")
    assert not report.differing
    assert "gives a different dx after forward has run again" in report.cases[0].faults[0]


def test_the_share_that_dropout_keeps(tmp_path):
    module = broken(tmp_path, "< p) / p", "> p) / p")
    report = check_layer(*pair(module, "dropout"), like="dropout")
    assert "p = 0.7 is the probability to keep, not to drop" in str(report)


def test_a_wrong_shape_stops_before_backward(tmp_path):
    module = broken(
        tmp_path, "return out, (x, pool_param)", "return out[:, :, 1:], (x, pool_param)"
    )
    report = check_layer(*pair(module, "max_pool"), like="max_pool")
    assert "WRONG SHAPE: yours is [3, 2, 3, 3]" in str(report)
    assert "backward was not called" in str(report)


# ------------------------------------------------------------------------------------------ the call


def test_it_can_raise(tmp_path):
    module = broken(tmp_path, "db = dout.sum(axis=0)", "db = dout[0]")
    with pytest.raises(LayerMismatchError, match="first image alone") as caught:
        check_layer(*pair(module, "affine"), like="affine", raise_on_failure=True)
    assert not caught.value.report.ok
    right = pair(course_layers, "affine")
    assert check_layer(*right, like="affine", raise_on_failure=True).ok


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"like": "convv"}, "testing/like", "no layer `convv`"),
        ({"like": ""}, "testing/like", "the layer to compare with"),
        ({"like": "conv", "strid": 2}, "call/unknown-attribute", "strid"),
        ({"like": "conv", "inputs": {"y": np.zeros(3)}}, "testing/inputs", "x, w, b and dout"),
        ({"like": "conv", "inputs": {"b": np.zeros(3)}}, "testing/shape", "`b` must be of shape"),
        ({"like": "conv", "kernel": 30}, "shape/kernel-too-large", ""),
    ],
)
def test_wrong_use_is_an_ordinary_error(options, code, message):
    with pytest.raises(netspec.NetspecError) as caught:
        check_layer(*pair(course_layers, "conv"), **options)
    assert caught.value.diagnostics[0].code == code
    assert message in str(caught.value)


def test_backward_is_optional():
    report = check_layer(course_layers.conv_forward, like="conv")
    assert report.ok
    assert [c.name for c in report.cases[0].comparisons] == ["out"]


def test_it_is_reached_from_the_package():
    code = "import netspec; print(netspec.testing.check_layer.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "check_layer"


def test_a_type_is_no_excuse_for_other_mistakes(tmp_path):
    module = broken(tmp_path, "db = dout.sum(axis=0)", "db = dout[-1].astype(np.float32)")
    (wrong,) = check_layer(*pair(module, "affine"), like="affine").differing
    assert not any("type" in hint for hint in wrong.hints)
