"""Stochastic depth."""

import math
import re
from collections.abc import Iterable

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.idiom import Attributes, Idiom, flat_sizes


def _of_rows(given: tuple[Attributes, ...], x: tuple[int, ...]) -> Attributes | None:
    """Return the attributes where the value has its shape again."""
    _, dropped, last = given
    return dropped if flat_sizes(last["sizes"]) == x else None


@register
class DropPath(Op):
    """Stochastic depth (Huang et al. 2016): whole images are dropped, to leave out a residual branch.

    In training y = m x and dL/dx = m dL/dy, with one number m an image: 0 with probability p, else
    1 / (1 - p). In evaluation y = x.
    """

    p: float = attribute(Real(0, 1), "probability to drop an image")

    name = "drop_path"
    rate = "p"
    onnx_ends = ("Identity",)
    storage = Storage.KEPT
    torch_modules = (
        ModuleForm(
            ("torchvision.ops.stochastic_depth.StochasticDepth",),
            attributes={"p": "p"},
            unless=lambda call: call.require(call["mode"] == "row", "it drops the whole batch"),
        ),
        ModuleForm(
            ("DropPath", "StochasticDepth"),
            attributes={"p": ("drop_prob", "drop_rate", "p")},
            unless=lambda call: call.require(
                bool(call.arguments.get("scale_by_keep", True)), "what is kept is not scaled"
            ),
        ),
    )
    # What `torch` gives: whole rows are dropped of a matrix with a row for each image.
    aten = (
        AtenForm(
            ("feature_dropout",),
            ("input",),
            attributes={"p": "p"},
            moves_batch=True,
            unless=lambda call: call.require(
                call.tensor("input").batch == 1 and call.tensor("input").shape[0] == 1,
                "it drops channels",
            ),
        ),
    )
    idioms = (Idiom(("reshape", "drop_path", "reshape"), _of_rows),)
    examples = (
        Example("drop_path(0.4)", ((3, 4, 5),)),
        Example("drop_path(p = 0.5)", ((6,),)),
        Example("drop_path(0.3)", ((4, 3),)),
        Example("drop_path(0)", ((5,),)),
        Example("drop_path(1)", ((5,),)),
    )
    bad_examples = (
        BadExample("drop_path(-0.5)", ((12,),), codes.CALL_VALUE),
        BadExample("drop_path", ((12,),), codes.CALL_MISSING),
    )

    def draws(self) -> bool:
        """A mask."""
        return self.p > 0

    def _drops(self, training: bool) -> bool:
        """Whether anything can be dropped."""
        return training and self.draws()

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """No."""
        return False

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """Multiply by the run's mask; in evaluation, return the input."""
        return x[0] * run.masks[run.node.name] if self._drops(run.training) else x[0]

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Multiply by the same mask."""
        return (dy * run.masks[run.node.name] if self._drops(run.training) else dy,)

    def lower(self, to: Lowering) -> None:
        """Draw the mask and multiply; a view of the input where nothing is dropped."""
        if not self._drops(to.training):
            to.view(to.out, to.x[0])
            return
        mask = to.saved["mask"] = to.buffer("mask", (1,) * len(to.out.shape))
        to.call("dropout.sample_mask", to.rng, mask, writes=[mask], p=self.p)
        to.call("dropout.scale_images", to.x[0], mask, to.out, writes=[to.out])

    def lower_backward(self, to: Lowering) -> None:
        """Multiply by the same mask."""
        if not to.wanted[0]:
            return
        if not self._drops(to.training):
            to.gradient(0, to.dy)
            return
        dx = to.gradient_buffer(0)
        to.call("dropout.scale_images", to.dy, to.saved["mask"], dx, writes=[dx])
        to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`nn.Dropout1d`, which drops whole rows, on a matrix with a row for each image."""
        rows = Torch("torch.reshape", (X(0), (1, BATCH, math.prod(inputs[0]))))
        kept = Torch("nn.Dropout1d", (self.p,), inputs=(rows,))
        return Torch("torch.reshape", (kept, (BATCH, *inputs[0])))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Identity`, of which the file says that it is one."""
        rate = re.fullmatch(r"drop_path\((?:p = )?([\d.e-]+)\)", read.said)
        if rate is not None:
            yield read.layer(cls(float(rate[1])), read.given(0))

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Identity`."""
        return to("Identity", to.x[0])
