"""Local response normalisation."""

import functools
from collections.abc import Iterable

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.onnx_read import plain
from netspec.compiler.ops.families.windows import require_axes

_LARGEST = 1000  # of a window that a file writes out


@register
class LocalResponseNorm(Op):
    """Local response normalisation (Krizhevsky et al. 2012) over `size` neighbouring channels.

    y_c = x_c / b_c^beta, b_c = k + alpha / size * sum of x_c'^2 over c - size // 2 <= c' <= c +
    (size - 1) // 2. PyTorch divides alpha by the size of the window; the paper does not.

    With g = dL/dy: dL/dx_c = g_c / b_c^beta - 2 alpha beta / size x_c * sum of g_c' y_c' / b_c' over
    the windows c' that hold channel c: c - (size - 1) // 2 <= c' <= c + size // 2.
    """

    size: int = attribute(Int(1), "channels in a window")
    alpha: float = attribute(Real(0), "weight of the squares", 1e-4)
    beta: float = attribute(Real(0), "exponent", 0.75)
    k: float = attribute(Real(0, low_open=True), "added to the squares", 1)

    name = "local_response_norm"
    onnx_ends = ("LRN", "Div")
    storage = Storage.CHANNELS_LAST
    torch_modules = (
        ModuleForm(
            ("torch.nn.modules.normalization.LocalResponseNorm",),
            attributes={"size": "size", "alpha": "alpha", "beta": "beta", "k": "k"},
        ),
    )
    examples = (
        Example("local_response_norm(5)", ((7, 3, 4),)),
        Example("local_response_norm(3, alpha = 0.5, beta = 0.6, k = 2)", ((4, 3, 3),)),
        Example("local_response_norm(4, alpha = 0.9)", ((6, 2, 3),)),
        Example("local_response_norm(9, alpha = 0.5)", ((3, 2, 2),)),
        Example("local_response_norm(1, alpha = 0.5)", ((1, 2, 2),)),
        Example("local_response_norm(3)", ((4, 5),)),
        Example("local_response_norm(3, alpha = 0.5)", ((3, 2, 2, 2),)),
    )
    bad_examples = (
        BadExample("local_response_norm(5)", ((10,),), codes.SHAPE_RANK),
        BadExample("local_response_norm(0)", ((3, 4, 4),), codes.CALL_VALUE),
        BadExample("local_response_norm(3, k = 0)", ((3, 4, 4),), codes.CALL_VALUE),
        BadExample("local_response_norm", ((3, 4, 4),), codes.CALL_MISSING),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """Unchanged."""
        require_axes(self, inputs[0])
        return inputs[0]

    def _base(self, x: Array) -> Array:
        """b, one channel at a time."""
        base = np.empty_like(x)
        for c in range(x.shape[1]):
            window = x[:, max(0, c - self.size // 2) : c + (self.size - 1) // 2 + 1]
            base[:, c] = self.k + self.alpha / self.size * (window**2).sum(axis=1)
        return base

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The formula."""
        y: Array = x[0] / self._base(x[0]) ** self.beta
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The formula."""
        base = self._base(x[0])
        share = dy * x[0] / base ** (self.beta + 1)
        total = np.empty_like(share)
        for c in range(share.shape[1]):
            holders = slice(max(0, c - (self.size - 1) // 2), c + self.size // 2 + 1)
            total[:, c] = share[:, holders].sum(axis=1)
        return (dy / base**self.beta - 2 * self.alpha * self.beta / self.size * x[0] * total,)

    def lower(self, to: Lowering) -> None:
        """One kernel, which saves b."""
        base = to.saved["base"] = to.buffer("base", to.out.shape)
        to.call(
            "local_response.forward", to.x[0], to.out, base, to.scratch,
            writes=[to.out, base], scratch=self._scratch(to),
            size=self.size, alpha=self.alpha, beta=self.beta, k=self.k,
        )  # fmt: skip

    def lower_backward(self, to: Lowering) -> None:
        """One kernel."""
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.call(
                "local_response.backward",
                to.x[0], to.out, to.saved["base"], to.dy, dx, to.scratch,
                writes=[dx], scratch=self._scratch(to),
                size=self.size, alpha=self.alpha, beta=self.beta,
            )  # fmt: skip
            to.gradient(0, dx)

    def _scratch(self, to: Lowering) -> Scratch:
        return to.needs("local_response.scratch_size", (to.out.shape,))

    def torch(self, *inputs: Shape) -> Torch:
        """`F.local_response_norm`."""
        options = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k}
        return Torch("F.local_response_norm", (X(0),), options)

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`LRN`, or the formula."""
        given = read.attributes
        if read.root.operator == "LRN":
            op = cls(
                given.whole("size"), given.real("alpha"), given.real("beta"), given.real("bias")
            )
            yield read.layer(op, read.given(0))
            return
        found = read.pattern("Div(x, Pow(Add(Mul(total, c_share), c_k), c_beta))")
        if found is None or found.values["x"].shape is None:
            return
        size, at = 1, found.values["total"].maker
        while at is not None and at.operator == "Add" and at.inputs[0] is not None:
            if size == _LARGEST:
                return
            size, at = size + 1, at.inputs[0].maker
        share, k, beta = (read.number(found.values[f"c_{n}"]) for n in ("share", "k", "beta"))
        if share is not None and k is not None and beta is not None:
            yield read.form(cls(size, plain(share * size), beta, k), found.values["x"])

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`LRN` of pictures, for an odd size; else the formula, with a slice for each of a window."""
        if self.size % 2 and len(to.shape) == 3:
            return to("LRN", to.x[0], size=self.size, alpha=self.alpha, beta=self.beta, bias=self.k)
        channels, rank = to.shape[0], len(to.shape) + 1
        befores, afters = [0] * rank, [0] * rank
        befores[1], afters[1] = self.size // 2, (self.size - 1) // 2
        squares = to("Mul", to.x[0], to.x[0])
        framed = to("Pad", squares, to.ints(*befores, *afters), to.float(0))
        shifted = (to.part(framed, 1, i, i + channels) for i in range(self.size))
        total = functools.reduce(lambda a, b: to("Add", a, b), shifted)
        base = to("Add", to("Mul", total, to.float(self.alpha / self.size)), to.float(self.k))
        return to("Div", to.x[0], to("Pow", base, to.float(self.beta)))
