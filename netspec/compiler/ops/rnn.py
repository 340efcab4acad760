"""Simple recurrent layer."""

from collections.abc import Iterable
from typing import Any

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.onnx_read import FileOperator
from netspec.compiler.ops.families.recurrent import RECURRENT_STATE, RecurrentOp, Run, States


@register
class Rnn(RecurrentOp):
    """Simple recurrent layer (Elman 1990): h[t] = tanh(x[t] W_ih^T + b_ih + h[t - 1] W_hh^T + b_hh).

    y[t] = h[t]; `(x, h0) -> rnn(H)` begins with h0 instead of zeros. Going back, with dh the gradient
    of h[t]: da = dh (1 - h[t]^2) is that of the sum, and da W_hh that of h[t - 1].
        dL/dx[t] = da W_ih, dL/dW_ih = sum of da^T x[t], dL/dW_hh = sum of da^T h[t - 1]
    """

    nonlinearity: str = attribute(Choice(("tanh", "relu")), "function of each step", "tanh")

    name = "rnn"
    arity = 1
    optional = 1
    gates = 1
    module = "nn.RNN"
    onnx_operator = "RNN"
    torch_order = ("", "features", "layers", "nonlinearity", "bias", "", "dropout", "bidirectional")
    torch_modules = (
        ModuleForm(
            ("torch.nn.modules.rnn.RNN",),
            states=1,
            starts_at_zero=True,
            attributes={
                "features": "hidden_size",
                "layers": "num_layers",
                "bias": "bias",
                "dropout": "dropout",
                "bidirectional": "bidirectional",
                "nonlinearity": "nonlinearity",
            },
            unless=lambda call: call.require(
                bool(call["batch_first"]) and not call.arguments.get("proj_size"),
                "`rnn` has the batch first and no projection",
            ),
        ),
    )
    examples = (
        Example("rnn(3)", ((3, 2),)),
        Example('rnn(2, nonlinearity = "relu")', ((2, 2), (2,))),
        Example("rnn(2, layers = 2, bias = false, bidirectional = true)", ((2, 3), (4, 2))),
        Example("rnn(2, layers = 2, dropout = 0.5)", ((1, 2),)),
    )
    bad_examples = (
        BadExample("rnn(4)", ((3, 8, 8),), codes.SHAPE_RANK),
        BadExample("rnn(4)", ((5, 3), (3,)), RECURRENT_STATE),
        BadExample("rnn(4)", ((5, 3), (4,), (4,)), codes.CALL_INPUTS),
        BadExample("rnn(0)", ((5, 3),), codes.CALL_VALUE),
    )

    def next_states(
        self, to: StepForm, pre: str, add: str, states: tuple[str, ...]
    ) -> tuple[str, ...]:
        """The formula."""
        return (to("relu" if self._relu else "tanh", to("add", pre, add)),)

    @property
    def _relu(self) -> bool:
        return self.nonlinearity == "relu"

    def step(self, pre: Array, add: Array, states: States) -> States:
        """The formula."""
        a = pre + add
        return (np.maximum(a, 0) if self._relu else np.tanh(a),)

    def step_backward(
        self, dstates: States, pre: Array, add: Array, states: States
    ) -> tuple[Array, Array, States]:
        """da, for both."""
        (h,) = self.step(pre, add, states)
        da = dstates[0] * ((h > 0) if self._relu else 1 - h**2)
        return da, da, (np.zeros_like(h),)

    def loop(self, to: Lowering, one: Run, pre: Buffer, out: Buffer) -> None:
        """One kernel."""
        before = self.saved(to, one, "before")
        (h0,) = self.first_states(to)
        weight, bias = (
            to.parameter(f"weight_hh_{one.suffix}"),
            to.parameter(f"bias_hh_{one.suffix}"),
        )
        to.call(
            "recurrent.rnn", pre, weight, bias, h0, out, before,
            writes=[out, before], at=one.at, reverse=one.reverse, relu=self._relu,
        )  # fmt: skip

    def loop_backward(
        self, to: Lowering, one: Run, dy: Buffer, dpre: Buffer, dstates: list[Buffer | None]
    ) -> Buffer:
        """One kernel."""
        (dh0,) = dstates
        weight, out = to.parameter(f"weight_hh_{one.suffix}"), to.saved[f"h_{one.suffix}"]
        to.call(
            "recurrent.rnn_backward", dy, weight, out, dpre, dh0, to.scratch, writes=[dpre, dh0],
            scratch=to.needs("recurrent.scratch_size", (self.features,)),
            reverse=one.reverse, relu=self._relu,
        )  # fmt: skip
        return dpre

    def module_options(self) -> dict[str, object]:
        """The function."""
        return {"nonlinearity": self.nonlinearity}

    @classmethod
    def onnx_variants(cls, operator: FileOperator) -> Iterable[dict[str, Any]]:
        """The function."""
        names = operator.attributes.texts("activations") or ("Tanh",)
        yield {"nonlinearity": names[0].lower()} if names[0] in ("Tanh", "Relu") else {}

    def onnx_options(self) -> dict[str, OnnxAttribute]:
        """The function, for each direction."""
        return {"activations": (self.nonlinearity.capitalize(),) * (1 + self.bidirectional)}
