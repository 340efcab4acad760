"""Long short-term memory."""

from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.recurrent import (
    RECURRENT_STATE,
    RecurrentOp,
    Run,
    States,
    logistic,
)


@register
class Lstm(RecurrentOp):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

    With a = x[t] W_ih^T + b_ih + h[t - 1] W_hh^T + b_hh, cut into the gates i, f, g, o:
        c[t] = sigmoid(f) c[t - 1] + sigmoid(i) tanh(g)
        y[t] = h[t] = sigmoid(o) tanh(c[t])

    `(x, h0, c0) -> lstm(H)` begins with these instead of zeros. Going back, with dh the gradient of
    h[t] and s the gates behind their functions: dc = dh s_o (1 - tanh(c)^2) + dc[t + 1] s_f[t + 1],
    di = dc s_g s_i (1 - s_i), df = dc c[t - 1] s_f (1 - s_f), dg = dc s_i (1 - s_g^2),
    do = dh tanh(c) s_o (1 - s_o), da = (di, df, dg, do); h[t - 1] gets da W_hh:
        dL/dx[t] = da W_ih, dL/dW_ih = sum of da^T x[t], dL/dW_hh = sum of da^T h[t - 1]
    """

    name = "lstm"
    arity = 1
    optional = 2
    gates = 4
    state_names = ("h", "c")
    module = "nn.LSTM"
    onnx_operator = "LSTM"
    onnx_gates = (0, 3, 1, 2)
    onnx_activations = ("Sigmoid", "Tanh", "Tanh")
    torch_order = ("", "features", "layers", "bias", "", "dropout", "bidirectional")
    torch_modules = (
        ModuleForm(
            ("torch.nn.modules.rnn.LSTM",),
            states=2,
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
                "`lstm` has the batch first and no projection",
            ),
        ),
    )
    examples = (
        Example("lstm(3)", ((3, 2),)),
        Example("lstm(2)", ((2, 3), (2,), (2,))),
        Example(
            "lstm(2, layers = 2, bias = false, bidirectional = true)", ((2, 2), (4, 2), (4, 2))
        ),
        Example("lstm(2, layers = 2, dropout = 0.5)", ((1, 2),)),
    )
    bad_examples = (
        BadExample("lstm(4)", ((8,),), codes.SHAPE_RANK),
        BadExample("lstm(4)", ((5, 3), (4,), (3,)), RECURRENT_STATE),
        BadExample("lstm(4, dropout = 2)", ((5, 3),), codes.CALL_VALUE),
    )

    def next_states(
        self, to: StepForm, pre: str, add: str, states: tuple[str, ...]
    ) -> tuple[str, ...]:
        """The formulas."""
        i, f, g, o = self.parts(to, to("add", pre, add))
        kept = to("mul", to("sigmoid", f), states[1])
        c = to("add", kept, to("mul", to("sigmoid", i), to("tanh", g)))
        return to("mul", to("sigmoid", o), to("tanh", c)), c

    def step(self, pre: Array, add: Array, states: States) -> States:
        """The formulas."""
        i, f, g, o = self._gates(pre, add)
        c = f * states[1] + i * g
        return o * np.tanh(c), c

    def _gates(self, pre: Array, add: Array) -> list[Array]:
        i, f, g, o = np.split(pre + add, 4, axis=1)
        return [logistic(i), logistic(f), np.tanh(g), logistic(o)]

    def step_backward(
        self, dstates: States, pre: Array, add: Array, states: States
    ) -> tuple[Array, Array, States]:
        """The gradients of the sum, and of c[t - 1]."""
        i, f, g, o = self._gates(pre, add)
        dh, dc = dstates
        small = np.tanh(f * states[1] + i * g)
        dc = dc + dh * o * (1 - small**2)
        da = np.concatenate(
            [
                dc * g * i * (1 - i),
                dc * states[1] * f * (1 - f),
                dc * i * (1 - g**2),
                dh * small * o * (1 - o),
            ],
            axis=1,
        )
        return da, da, (np.zeros_like(dh), dc * f)

    def loop(self, to: Lowering, one: Run, pre: Buffer, out: Buffer) -> None:
        """One kernel."""
        gates = self.saved(to, one, "gates", 4)
        kept = [self.saved(to, one, name) for name in ("before", "cells", "squashed")]
        weight, bias = (
            to.parameter(f"weight_hh_{one.suffix}"),
            to.parameter(f"bias_hh_{one.suffix}"),
        )
        to.call(
            "recurrent.lstm", pre, weight, bias, *self.first_states(to), out, gates, *kept, to.scratch,
            writes=[out, gates, *kept], at=one.at, reverse=one.reverse,
            scratch=to.needs("recurrent.lstm_scratch_size", (self.features,)),
        )  # fmt: skip

    def loop_backward(
        self, to: Lowering, one: Run, dy: Buffer, dpre: Buffer, dstates: list[Buffer | None]
    ) -> Buffer:
        """One kernel."""
        kept = [to.saved[f"{name}_{one.suffix}"] for name in ("gates", "cells", "squashed")]
        to.call(
            "recurrent.lstm_backward", dy, to.parameter(f"weight_hh_{one.suffix}"), *kept, dpre,
            *dstates, to.scratch, writes=[dpre, *dstates], reverse=one.reverse,
            scratch=to.needs("recurrent.scratch_size", (self.features,)),
        )  # fmt: skip
        return dpre
