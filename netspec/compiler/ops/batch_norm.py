"""Batch normalisation."""

import math
from collections.abc import Iterable
from typing import Any

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.onnx_read import is_by_channel
from netspec.compiler.ops.families.rows import over_rows
from netspec.compiler.ops.families.windows import require_axes

USELESS_BIAS = Code.warning("graph/useless-bias", "a bias that the next batch norm subtracts again")


_NORM = "BatchNormalization(x, c_weight, c_bias, c_mean, c_var)"
_WRITTEN_OUT = "Add(Mul(Sub(x, c_mean), c_factor), c_summand)"
_NORMS = (
    _NORM,
    f"Mul({_NORM}, c_factor)",
    f"Add({_NORM}, c_summand)",
    f"Add(Mul({_NORM}, c_factor), c_summand)",
)


@register
class BatchNorm(Op):
    """Batch normalisation (Ioffe and Szegedy 2015) over all axes but the channels.

    xhat = (x - mean) / sqrt(var + eps), y = weight xhat + bias, with the batch's mean and biased
    variance in training and the running ones in evaluation, where
    running = (1 - momentum) running + momentum batch (the unbiased variance).

    With g = dL/dy, sums over the R values of a channel, s = 1 / sqrt(var + eps):
        dL/dbias = sum g
        dL/dweight = sum g xhat
        dL/dx = weight s (g - (sum g) / R - xhat (sum g xhat) / R)     in training
        dL/dx = weight s g                                            in evaluation

    In training mean and var depend on x too: dL/dmean = -s weight sum g takes the mean of g away, and
    dL/dvar = -s^2 / 2 weight sum g xhat what lies along xhat. dL/dxhat = weight g already holds the
    weight.
    """

    eps: float = attribute(Real(0, 1, low_open=True), "added to the variance", 1e-5)
    momentum: float = attribute(Real(0, 1), "share of the batch in the running estimates", 0.1)
    affine: bool = attribute(Bool(), "learn a weight and a bias for each channel", True)

    name = "batch_norm"
    onnx_ends = ("BatchNormalization", "Mul", "Add")
    formula_name = "affine"
    storage = Storage.CHANNELS_LAST
    parameter_names = ("weight", "bias")
    torch_order = ("", "eps", "momentum", "affine")
    aten = (
        AtenForm(
            ("batch_norm",),
            ("input",),
            {
                "weight": "weight",
                "bias": "bias",
                "running_mean": "running_mean",
                "running_var": "running_var",
            },
            {
                "eps": "eps",
                "momentum": "momentum",
                "affine": lambda call: call.has("weight"),
            },
            unless=lambda call: call.require(
                call.has("running_mean"), "`batch_norm` always keeps running statistics"
            ),
        ),
    )
    examples = (
        Example("batch_norm", ((3, 4, 5),)),
        Example("batch_norm(eps = 0.001, momentum = 0.3)", ((2, 3, 3),)),
        Example("batch_norm(affine = false)", ((3, 2, 2),)),
        Example("batch_norm", ((6,),)),
        Example("batch_norm(affine = false)", ((5,),)),
        Example("batch_norm", ((3, 4),)),
        Example("batch_norm(affine = false)", ((2, 3, 2, 2),)),
    )
    bad_examples = (
        BadExample("batch_norm(momentum = 2)", ((3, 4, 4),), codes.CALL_VALUE),
        BadExample("batch_norm(eps = 0)", ((3, 4, 4),), codes.CALL_VALUE),
        BadExample("batch_norm(16)", ((3, 4, 4),), codes.CALL_INFERRED_SIZE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """Unchanged."""
        (x,) = inputs
        if len(x) > 1:
            require_axes(self, x)
        return x

    def parameters(self, *inputs: Shape) -> tuple[ParameterSpec, ...]:
        """`weight` and `bias` where affine; the running statistics and their counter."""
        channels = (inputs[0][0],)
        statistics = (
            ParameterSpec("running_mean", channels, Zeros(), "statistic"),
            ParameterSpec("running_var", channels, Ones(), "statistic"),
            ParameterSpec("num_batches_tracked", (), Zeros(), "counter"),
        )
        affine = (
            ParameterSpec("weight", channels, Ones(), "scale"),
            ParameterSpec("bias", channels, Zeros(), "shift"),
        )
        return affine + statistics if self.affine else statistics

    def least_training_batch(self, *inputs: Shape) -> int:
        """Two if a channel has only one value per image: one value has no variance."""
        return 2 if math.prod(inputs[0][1:]) == 1 else 1

    def lint(self, node: Node, graph: Graph) -> Iterable[Finding]:
        """A warning about a bias directly before, which the subtraction of the mean cancels."""
        before = graph.by_name.get(node.inputs[0])
        if (
            before is None
            or "bias" not in before.parameters
            or len(graph.consumers[before.name]) > 1
        ):
            return
        if before.op.macs(*graph.shapes_into(before)) == 0:
            return
        yield Finding(
            USELESS_BIAS,
            f"the bias of this `{before.op.name}` has no effect: `batch_norm` subtracts the mean",
            node=before,
            fixes=(Fix("bias", "false", "leave it out with `bias = false`"),),
        )

    # -- reference

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """Normalise, then scale and shift."""
        p = run.parameters
        axes = (0, *range(2, x[0].ndim))
        if run.training:
            mean, var = x[0].mean(axis=axes), x[0].var(axis=axes)
            count = x[0].size // x[0].shape[1]
            for name, batch in (("mean", mean), ("var", var * count / max(count - 1, 1))):
                running = p[f"running_{name}"]
                running[...] = (1 - self.momentum) * running + self.momentum * batch
            p["num_batches_tracked"][...] += 1
        else:
            mean, var = p["running_mean"], p["running_var"]
        s = 1 / (var + self.eps) ** 0.5
        xhat = (x[0] - _per_channel(mean, x[0])) * _per_channel(s, x[0])
        run.saved.update(xhat=xhat, s=s)
        if not self.affine:
            return xhat
        return xhat * _per_channel(p["weight"], x[0]) + _per_channel(p["bias"], x[0])

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The formulas above."""
        xhat, s = run.saved["xhat"], run.saved["s"]
        axes = (0, *range(2, dy.ndim))
        count = dy.size // dy.shape[1]
        dbias, dweight = dy.sum(axis=axes), (dy * xhat).sum(axis=axes)
        scale = s
        if self.affine:
            run.gradients.update(weight=dweight, bias=dbias)
            scale = s * run.parameters["weight"]
        if not run.training:
            return (dy * _per_channel(scale, dy),)
        centred = dy - _per_channel(dbias / count, dy) - xhat * _per_channel(dweight / count, dy)
        return (_per_channel(scale, dy) * centred,)

    # -- lowering

    def lower(self, to: Lowering) -> None:
        """Per-channel sums, then y = x scale + shift, which can be fused with the next step."""
        vector = (to.x_shapes[0][0],)
        scale, shift = (to.buffer(s, vector, batched=False) for s in ("scale", "shift"))
        weight, bias = to.parameter("weight"), to.parameter("bias")
        mean, var = to.parameter("running_mean"), to.parameter("running_var")
        to.saved["scale"] = scale
        if to.training:
            batch_mean, inverse_std = (
                to.buffer(s, vector, batched=False) for s in ("mean", "inverse_std")
            )
            to.saved.update(mean=batch_mean, inverse_std=inverse_std)
            counter = to.parameter("num_batches_tracked")
            to.call(
                "batch_norm.batch_statistics",
                to.x[0], to.scratch, weight, bias, mean, var, counter,
                batch_mean, inverse_std, scale, shift,
                writes=[mean, var, counter, batch_mean, inverse_std, scale, shift],
                scratch=self._scratch(to), eps=self.eps, momentum=self.momentum,
            )  # fmt: skip
        else:
            to.call(
                "batch_norm.running_scale_shift", weight, bias, mean, var, scale, shift,
                writes=[scale, shift], eps=self.eps,
            )  # fmt: skip
        formula = Var("x") * Var("scale") + Var("shift")
        to.elementwise(to.out, formula, x=to.x[0], scale=scale, shift=shift)

    def lower_backward(self, to: Lowering) -> None:
        """Per-channel sums, then an elementwise dx."""
        dweight = to.parameter_gradient("weight") if self.affine else None
        dbias = to.parameter_gradient("bias") if self.affine else None
        if not to.training:
            self._lower_backward_running(to, dweight, dbias)
            return
        vector = (to.x_shapes[0][0],)
        mean = to.saved["mean"]
        dy_scale, x_scale, dx_shift = (
            to.buffer(s, vector, batched=False) for s in ("dy_scale", "x_scale", "dx_shift")
        )
        to.call(
            "batch_norm.batch_backward",
            to.x[0], to.dy, to.scratch, to.parameter("weight"), mean, to.saved["inverse_std"],
            dweight, dbias, dy_scale, x_scale, dx_shift,
            writes=[dweight, dbias, dy_scale, x_scale, dx_shift], scratch=self._scratch(to),
        )  # fmt: skip
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            dy, x = Var("dy"), Var("x")
            formula = dy * Var("dy_scale") + (x - Var("mean")) * Var("x_scale") + Var("dx_shift")
            to.elementwise(
                dx, formula, dy=to.dy, dy_scale=dy_scale, x=to.x[0], mean=mean,
                x_scale=x_scale, dx_shift=dx_shift,
            )  # fmt: skip
            to.gradient(0, dx)

    def _lower_backward_running(self, to: Lowering, dweight: Any, dbias: Any) -> None:
        if self.affine:
            to.call(
                "batch_norm.running_backward",
                to.x[0], to.dy, to.scratch, to.parameter("running_mean"),
                to.parameter("running_var"), dweight, dbias,
                writes=[dweight, dbias], scratch=self._scratch(to), eps=self.eps,
            )  # fmt: skip
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.elementwise(dx, Var("dy") * Var("scale"), dy=to.dy, scale=to.saved["scale"])
            to.gradient(0, dx)

    def _scratch(self, to: Lowering) -> Scratch:
        return to.needs("batch_norm.scratch_size", (to.x[0].shape,))

    def torch(self, *inputs: Shape) -> Torch:
        """`nn.BatchNorm2d` for pictures, `nn.BatchNorm1d` for vectors and signals."""
        target = f"nn.BatchNorm{max(1, len(inputs[0]) - 1)}d"
        options = {"eps": self.eps, "momentum": self.momentum, "affine": self.affine}
        defaults = {"eps": 1e-5, "momentum": 0.1, "affine": True}
        return Torch(target, (inputs[0][0],), options, defaults=defaults)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`BatchNormalization`, with a factor and a summand for each channel behind it; or written out,
        as `(x - mean) * factor + summand` behind a layer.
        """
        for text in _NORMS:
            found = read.pattern(text)
            if found is not None and read.shape_of(found.values["x"]) is not None:
                yield cls._from_norm(read, found)
        found = read.pattern(_WRITTEN_OUT)
        if found is not None:
            yield cls._from_numbers(read, found)

    @classmethod
    def _from_numbers(cls, read: OnnxReader, found: Found) -> OnnxLayer | None:
        """Return the norm whose deviation is a part of the factor, so that the variance is about 1."""
        x = found.values["x"]
        shape = read.shape_of(x)
        if not shape or x.maker is None or not isinstance(shape[0], int):
            return None
        op = cls()
        places = {"running_mean": "c_mean", "weight": "c_factor", "bias": "c_summand"}
        held: dict[str, Held | FileValue] = {}
        for name, own in places.items():
            array = read.array(found.values[own])
            if array is None or not is_by_channel(array, shape, shape[0]):
                return None
            held[name] = Held(found.values[own], array.reshape(-1))
        around_one = np.full(shape[0], 1 - op.eps, np.float32)
        held["running_var"] = Held(found.values["c_factor"], around_one)
        return read.layer(op, x, found=found, parameters=held)

    @classmethod
    def _from_norm(cls, read: OnnxReader, found: Found) -> OnnxLayer | None:
        named = found.values
        own = {n: read.array(named[f"c_{n}"]) for n in ("weight", "bias", "mean", "var")}
        weight, bias = own["weight"], own["bias"]
        if weight is None or bias is None or weight.ndim != 1:
            return None
        for name in ("factor", "summand"):
            value = named.get(f"c_{name}")
            array = None if value is None else read.array(value)
            if value is None:
                continue
            if array is None or not is_by_channel(array, named["x"].shape, len(weight)):
                return None
            array = array.reshape(-1)
            weight, bias = (
                (weight * array, bias * array) if name == "factor" else (weight, bias + array)
            )
        (norm,) = (op for op in found.covers if op.operator == "BatchNormalization")
        if norm.attributes.whole("training_mode"):
            return None
        eps, kept = norm.attributes.real("epsilon"), norm.attributes.real("momentum")
        plain = len(found.covers) == 1 and named["c_weight"].is_constant
        affine = not (plain and np.all(weight == 1) and np.all(bias == 0))
        op = cls(eps=eps, momentum=round(1 - kept, 7), affine=affine)
        held: dict[str, Held | FileValue] = {
            "running_mean": named["c_mean"],
            "running_var": named["c_var"],
        }
        if affine:
            held["weight"] = Held(named.get("c_factor", named["c_weight"]), weight)
            held["bias"] = Held(named.get("c_summand", named["c_bias"]), bias)
        return read.layer(op, named["x"], found=found, parameters=held)

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`BatchNormalization`."""
        channels = to.shape[:1]
        weight = to.parameter("weight") or to.floats([1] * channels[0], channels)
        bias = to.parameter("bias") or to.floats([0] * channels[0], channels)
        statistics = (to.parameters[f"running_{name}"] for name in ("mean", "var"))
        return to(
            "BatchNormalization", to.x[0], weight, bias, *statistics,
            epsilon=self.eps, momentum=1 - self.momentum,
        )  # fmt: skip

    def needs_order(self, *inputs: Shape) -> bool:
        """Whether one side of a picture, but not both, can be 1.

        The strides of a permuted [N, C, 1, W] do not determine its order in memory: PyTorch reads
        the gradient in one order and the value in the other.
        """
        (x,) = inputs
        return len(x) == 3 and x[0] != 1 and x[1] != x[2] and any(not d > 1 for d in x[1:])

    def torch_of_views(self, *inputs: Shape) -> Torch:
        """`nn.BatchNorm1d` over [N, C, H W]."""
        return over_rows(self.torch(*inputs), inputs[0])


def _per_channel(vector: Array, like: Array) -> Array:
    """A vector of one number per channel, in a shape that broadcasts over (N, C, ...)."""
    return vector.reshape(1, -1, *(1,) * (like.ndim - 2))
