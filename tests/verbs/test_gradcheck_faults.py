"""Faults are planted in kernels, in formulas and in the plan.

Each is found, and named with its line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.numpy_backend.passes.plan_memory import plan_memory
from netspec.compiler.ops import registry
from netspec.kernels import batch_norm as norm
from netspec.kernels import conv, linear, pool
from netspec.kernels.windows import Window, clipped_taps
from netspec.runtime.engine import code as executor

NET = """
net Faulty {
    input image: [2, 9, 8]

    output image
        -> first: conv(3, 3, pad = 1, bias = false)
        -> norm: batch_norm
        -> wave: tanh
        -> pool: max_pool(3, stride = 2)
        -> second: conv(4, 3, pad = 1)
        -> rect: relu
        -> mean: global_avg_pool
        -> hidden: linear(6)
        -> bend: tanh
        -> square: linear(6)
}
"""


def check(**options):
    net = netspec.loads(NET, name="faulty.net")
    return netspec.gradcheck(net, **({"directions": 3, "backend": "numpy"} | options))


def test_the_net_is_sound_without_a_fault():
    report = check()
    assert report.ok, str(report)
    assert report.diagnostics == []
    report.require()


Patch = Callable[[pytest.MonkeyPatch], None]
FAULTS: dict[str, tuple[Patch, str, str, str]] = {}


def fault(layer: str, row: str, code: str = "gradient") -> Callable[[Patch], Patch]:
    """Declare a fault: the layer that must be named, and a row that must fail."""

    def add(patch: Patch) -> Patch:
        FAULTS[patch.__name__.replace("_", " ")] = (patch, layer, row, code)
        return patch

    return add


# ------------------------------------------------------------------------------------- wrong sign


@fault("square", "square.weight")
def a_wrong_sign_in_a_kernel(monkeypatch):
    sound = linear.backward_weight

    def wrong(x, dy, dweight):
        sound(x, dy, dweight)
        np.negative(dweight, out=dweight)

    monkeypatch.setattr(linear, "backward_weight", wrong)


@fault("bend", "hidden.weight")
def a_wrong_sign_in_a_formula(monkeypatch):
    """The reference and the program agree on it, so only finite differences find it."""
    tanh = registry()["tanh"]
    sound = tanh.derivatives
    monkeypatch.setattr(tanh, "derivatives", lambda op, y, *x: (-sound(op, y, *x)[0],))


# ------------------------------------------------------------------------------ missing transpose


@fault("square", "hidden.weight")
def a_missing_transpose(monkeypatch):
    sound = linear.backward_input

    def wrong(dy, weight, dx):
        square = weight.shape[0] == weight.shape[1]
        sound(dy, weight.T if square else weight, dx)

    monkeypatch.setattr(linear, "backward_input", wrong)


@fault("second", "norm.weight")
def a_kernel_that_is_not_flipped(monkeypatch):
    sound = conv.backward_input

    def wrong(dy, weight, dx, scratch, **options):
        sound(dy, np.ascontiguousarray(weight[:, :, ::-1, ::-1]), dx, scratch, **options)

    monkeypatch.setattr(conv, "backward_input", wrong)


# ----------------------------------------------------------------------------------- stale buffer


@fault("norm", "first.weight")
def a_buffer_of_the_last_step(monkeypatch):
    sound, kept = norm.batch_backward, []

    def wrong(x, dy, scratch, weight, mean, inverse_std, *results):
        kept.append(inverse_std.copy())
        last = kept[-2] if len(kept) > 1 else 2 * inverse_std
        sound(x, dy, scratch, weight, mean, last, *results)

    monkeypatch.setattr(norm, "batch_backward", wrong)


@fault("hidden", "hidden.bias")
def a_gradient_that_is_added_to(monkeypatch):
    """It is added to what the last step left there, so only the first step is right, by luck."""
    sound, calls = linear.backward_bias, []

    def wrong(dy, dbias):
        before = np.nan_to_num(dbias)
        sound(dy, dbias)
        if dy.shape[-1] == 6 and len(calls) % 2:
            dbias += before + 1.0
        calls.append(dy)

    monkeypatch.setattr(linear, "backward_bias", wrong)


@fault("rect", "second.weight")
def memory_that_is_used_again_too_early(monkeypatch):
    def wrong(plan):
        memory = plan_memory(plan)
        for buffer, storage in memory.home.items():
            if buffer.name == "rect":
                storage.last = storage.first + 1
        return memory

    monkeypatch.setattr(executor, "plan_memory", wrong)


# --------------------------------------------------------------------------------- off by one


def shifted(options):
    top, bottom, left, right = options["pad"]
    return options | {"pad": (top - 1, bottom + 1, left, right)}


@fault("first", "first.weight", code="value")
def padding_that_is_off_by_one(monkeypatch):
    sound = conv.forward
    monkeypatch.setattr(
        conv, "forward", lambda x, w, b, y, s, **options: sound(x, w, b, y, s, **shifted(options))
    )


@fault("second", "second.weight")
def padding_that_is_off_by_one_backward(monkeypatch):
    sound = conv.backward_weight
    monkeypatch.setattr(
        conv,
        "backward_weight",
        lambda x, dy, dw, s, **options: sound(x, dy, dw, s, **shifted(options)),
    )


# ----------------------------------------------------------------------------- batch normalisation


@fault("norm", "first.weight")
def a_batch_norm_that_forgets_the_gradient_of_the_mean(monkeypatch):
    sound = norm.batch_backward

    def wrong(*arguments):
        sound(*arguments)
        arguments[-1][...] = 0  # dx_shift

    monkeypatch.setattr(norm, "batch_backward", wrong)


@fault("norm", "first.weight")
def a_batch_norm_whose_formula_forgets_the_gradient_of_the_mean(monkeypatch):
    """The mistake is in the reference and in the program."""
    a_batch_norm_that_forgets_the_gradient_of_the_mean(monkeypatch)
    batch_norm = registry()["batch_norm"]
    sound = batch_norm.backward

    def wrong(op, run, dy, *x):
        (dx,) = sound(op, run, dy, *x)
        if not run.training:
            return (dx,)
        scale = run.saved["s"] * run.parameters["weight"]
        mean = dy.mean(axis=(0, 2, 3))
        return (dx + (scale * mean)[None, :, None, None],)

    monkeypatch.setattr(batch_norm, "backward", wrong)


@fault("norm", "", code="value")
def a_running_variance_that_is_biased(monkeypatch):
    sound = norm.batch_statistics

    def wrong(x, *arguments, **options):
        running_var = arguments[4]
        before = running_var.copy()
        sound(x, *arguments, **options)
        rows = x.size // x.shape[-1]
        running_var -= (running_var - 0.9 * before) / rows

    monkeypatch.setattr(norm, "batch_statistics", wrong)


# ------------------------------------------------------------------- mistakes that were published

PUBLISHED = json.loads((Path(__file__).parents[1] / "courses/course_notebooks.json").read_text())


@fault("second", "second.bias")
def published_bias_gradient_of_the_last_sample(monkeypatch):
    monkeypatch.setattr(
        conv, "backward_bias", lambda dy, dbias: np.copyto(dbias, dy[-1].sum(axis=(0, 1)))
    )


@fault("norm", "first.weight")
def published_batch_norm_that_multiplies_by_gamma_again(monkeypatch):
    sound = norm.batch_backward

    def wrong(x, dy, scratch, weight, *arguments):
        sound(x, dy, scratch, weight, *arguments)
        for vector in arguments[-3:]:  # dy_scale, x_scale, dx_shift
            vector *= weight

    monkeypatch.setattr(norm, "batch_backward", wrong)


@fault("pool", "norm.weight")
def published_max_pool_by_a_boolean_mask(monkeypatch):
    def wrong(x, y, dy, dx, scratch, *, kernel, stride, pad, dilation):
        dx.fill(0)
        window = Window(kernel, stride, pad, dilation)
        for tap in clipped_taps(window, range(y.shape[1]), range(y.shape[2]), x.shape[1:3]):
            seen = np.s_[:, tap.in_h, tap.in_w]
            outputs = np.s_[:, tap.out_h, tap.out_w]
            mask = x[seen] == y[outputs]
            dx[seen][mask] = dy[outputs][mask]  # where windows overlap, the last one is kept

    monkeypatch.setattr(pool, "max_backward", wrong)


def test_every_published_mistake_is_planted():
    planted = [name for name in FAULTS if name.startswith("published")]
    assert len(planted) == len(PUBLISHED["known_faults_in_published_code"])


@pytest.mark.parametrize(("patch", "layer", "row", "code"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found_and_named(patch, layer, row, code, monkeypatch):
    patch(monkeypatch)
    report = check()
    assert report.verdict == "failed", str(report)
    found = report.diagnostics[0]
    spans = {node.name: node.origin.span for node in report.graph.nodes}
    assert found.code == f"gradcheck/{code}"
    assert found.span == spans[layer], str(found)
    if row:
        assert row in {r.name for r in report.rows if r.verdict == "failed"}
    with pytest.raises(netspec.NetspecError):
        report.require()
