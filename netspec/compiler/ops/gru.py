"""Gated recurrent unit."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.recurrent import (
    RECURRENT_STATE,
    RecurrentOp,
    Run,
    States,
    logistic,
)


@register
class Gru(RecurrentOp):
    """Gated recurrent unit (Cho et al. 2014), with the reset gate behind the product as in PyTorch.

    With p = x[t] W_ih^T + b_ih and a = h[t - 1] W_hh^T + b_hh, each cut into three parts:
        r = sigmoid(p_r + a_r), z = sigmoid(p_z + a_z), n = tanh(p_n + r a_n)
        h[t] = (1 - z) n + z h[t - 1]

        y[t] = h[t]

    `(x, h0) -> gru(H)` begins with h0 instead of zeros. Going back, with dh the gradient of h[t]:
    dn = dh (1 - z) (1 - n^2), dz = dh (h[t - 1] - n) z (1 - z), dr = dn a_n r (1 - r);
    dp = (dr, dz, dn), da = (dr, dz, r dn), and h[t - 1] gets dh z + da W_hh:
        dL/dx[t] = dp W_ih, dL/dW_ih = sum of dp^T x[t], dL/dW_hh = sum of da^T h[t - 1]
    """

    name = "gru"
    arity = 1
    optional = 1
    gates = 3
    module = "nn.GRU"
    onnx_operator = "GRU"
    onnx_gates = (1, 0, 2)
    torch_order = ("", "features", "layers", "bias", "", "dropout", "bidirectional")
    torch_modules = (
        ModuleForm(
            ("torch.nn.modules.rnn.GRU",),
            states=1,
            starts_at_zero=True,
            attributes={
                "features": "hidden_size",
                "layers": "num_layers",
                "bias": "bias",
                "dropout": "dropout",
                "bidirectional": "bidirectional",
            },
            unless=lambda call: call.require(
                bool(call["batch_first"]) and not call.arguments.get("proj_size"),
                "`gru` has the batch first and no projection",
            ),
        ),
    )
    examples = (
        Example("gru(3)", ((3, 2),)),
        Example("gru(2, layers = 2, bias = false, bidirectional = true)", ((2, 3), (4, 2))),
        Example("gru(2, layers = 2, dropout = 0.5)", ((1, 2), (2, 2))),
    )
    bad_examples = (
        BadExample("gru(4)", ((2, 3, 4, 5),), codes.SHAPE_RANK),
        BadExample("gru(4, 2)", ((5, 3), (4,)), RECURRENT_STATE),
        BadExample("gru(4, bias = 1)", ((5, 3),), codes.CALL_VALUE),
    )

    def _gates(self, pre: Array, add: Array) -> tuple[Array, Array, Array, Array]:
        """r, z, n, and the part of a that r multiplies."""
        (pr, pz, pn), (ar, az, an) = np.split(pre, 3, axis=1), np.split(add, 3, axis=1)
        r, z = logistic(pr + ar), logistic(pz + az)
        return r, z, np.tanh(pn + r * an), an

    def next_states(
        self, to: StepForm, pre: str, add: str, states: tuple[str, ...]
    ) -> tuple[str, ...]:
        """The formulas."""
        (pr, pz, pn), (ar, az, an) = self.parts(to, pre), self.parts(to, add)
        r, z = to("sigmoid", to("add", pr, ar)), to("sigmoid", to("add", pz, az))
        n = to("tanh", to("add", pn, to("mul", r, an)))
        return (to("add", n, to("mul", z, to("sub", states[0], n))),)

    def step(self, pre: Array, add: Array, states: States) -> States:
        """The formulas."""
        _, z, n, _ = self._gates(pre, add)
        return ((1 - z) * n + z * states[0],)

    def step_backward(
        self, dstates: States, pre: Array, add: Array, states: States
    ) -> tuple[Array, Array, States]:
        """The gradients of p, of a, and of h[t - 1] by z."""
        r, z, n, an = self._gates(pre, add)
        (dh,) = dstates
        dn = dh * (1 - z) * (1 - n**2)
        dz = dh * (states[0] - n) * z * (1 - z)
        dr = dn * an * r * (1 - r)
        return np.concatenate([dr, dz, dn], 1), np.concatenate([dr, dz, r * dn], 1), (dh * z,)

    def loop(self, to: Lowering, one: Run, pre: Buffer, out: Buffer) -> None:
        """One kernel."""
        gates = self.saved(to, one, "gates", 3)
        kept = [self.saved(to, one, name) for name in ("before", "inner")]
        (h0,) = self.first_states(to)
        weight, bias = (
            to.parameter(f"weight_hh_{one.suffix}"),
            to.parameter(f"bias_hh_{one.suffix}"),
        )
        to.call(
            "recurrent.gru", pre, weight, bias, h0, out, gates, *kept, to.scratch,
            writes=[out, gates, *kept], at=one.at, reverse=one.reverse,
            scratch=to.needs("recurrent.scratch_size", (self.features,)),
        )  # fmt: skip

    def loop_backward(
        self, to: Lowering, one: Run, dy: Buffer, dpre: Buffer, dstates: list[Buffer | None]
    ) -> Buffer:
        """One kernel."""
        kept = [to.saved[f"{name}_{one.suffix}"] for name in ("gates", "before", "inner")]
        dadd = to.buffer(f"dadd_{one.suffix}", dpre.shape)
        to.call(
            "recurrent.gru_backward", dy, to.parameter(f"weight_hh_{one.suffix}"), *kept, dpre, dadd,
            *dstates, to.scratch, writes=[dpre, dadd, *dstates], reverse=one.reverse,
            scratch=to.needs("recurrent.scratch_size", (self.features,)),
        )  # fmt: skip
        return dadd

    def onnx_options(self) -> dict[str, OnnxAttribute]:
        """The reset gate is behind the product."""
        return {"linear_before_reset": 1}
