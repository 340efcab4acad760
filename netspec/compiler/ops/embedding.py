"""Learned vectors for whole numbers."""

from collections.abc import Iterable
from dataclasses import replace

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.initializers import Normal, NormalRows
from netspec.records import record


@register
class Embedding(Op):
    """A learned vector for each whole number, such as a token: y[.., :] = W[x[..], :].

    x is a whole number from 0 to vocabulary - 1. With g = dL/dy: dL/dW[k] = sum of g[.., :] where
    x[..] = k; dL/dx = 0. The vector of `padding` is 0 at first, and has no gradient.
    """

    vocabulary: int = attribute(Int(1), "how many vectors there are")
    width: int = attribute(Int(1), "numbers in a vector")
    padding: int | None = attribute(
        Int(0), "the number that fills up sequences, whose vector is not trained", None
    )

    name = "embedding"
    onnx_ends = ("Gather",)
    storage = Storage.ROW_MAJOR
    parameter_names = ("weight",)
    torch_order = ("vocabulary", "width")
    aten = (
        AtenForm(
            ("embedding",),
            ("indices",),
            {"weight": "weight"},
            {
                "vocabulary": lambda call: call.tensor("weight").shape[0],
                "width": lambda call: call.tensor("weight").shape[1],
                "padding": lambda call: (
                    None if call.whole("padding_idx") < 0 else call["padding_idx"]
                ),
            },
        ),
    )
    examples = (
        Example("embedding(10, 4)", ((6,),)),
        Example("embedding(vocabulary = 3, width = 2)", ((8,),)),
        Example("embedding(5, 3)", ((2, 4),)),
        Example("embedding(4, 2)", ((2, 3, 2),)),
        Example("embedding(4, 2, padding = 1)", ((9,),)),
        Example("embedding(3, 2, 0)", ((2, 4),)),
    )
    bad_examples = (
        BadExample("embedding(0, 4)", ((6,),), codes.CALL_VALUE),
        BadExample("embedding(4, 2, padding = 4)", ((6,),), codes.CALL_VALUE),
    )

    def shape(self, *inputs: Shape) -> Shape:
        """One axis more, the vectors.

        Raises:
            ShapeError: `shape/axis` if that is too many, `call/value` for a padding beyond the
                vocabulary.
        """
        (x,) = inputs
        if self.padding is not None and self.padding >= self.vocabulary:
            raise ShapeError(
                codes.CALL_VALUE,
                f"`padding` must be one of the numbers from 0 to {self.vocabulary - 1},"
                f" not {self.padding}",
                blame="padding",
            )
        require_axis_free(x)
        return (*x, self.width)

    def parameters(self, *inputs: Shape) -> tuple[ParameterSpec, ...]:
        """`weight` (vocabulary, width), from the standard normal distribution as in PyTorch; the row of
        the padding is 0.
        """
        rule = Normal(1.0)
        if self.padding is not None:
            rule = NormalRows(1.0, zeros=self.padding)
        return (ParameterSpec("weight", (self.vocabulary, self.width), rule, "weight"),)

    def untrained_row(self, parameter: str) -> int | None:
        """That of the padding."""
        return self.padding

    def takes(self, index: int) -> tuple[NumberType, ...]:
        """Whole numbers."""
        return "int", "real"

    def given(self, types: tuple[NumberType, ...]) -> Op:
        """The same, without a conversion of what holds whole numbers already."""
        return (
            _OfWholeNumbers(self.vocabulary, self.width, self.padding)
            if types[0] == "int"
            else self
        )

    def whole_numbers(self, index: int) -> int | None:
        """The vocabulary."""
        return self.vocabulary

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: rows and columns no longer tell where a number came from."""
        return None if len(inputs[0]) == 3 else super().sees(*inputs)

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """No."""
        return False

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The rows."""
        y: Array = run.parameters["weight"][self._rows(x[0])]
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Each vector gets the gradients of the places that it went to."""
        dweight = np.zeros_like(run.parameters["weight"])
        for index, row in np.ndenumerate(self._rows(x[0])):
            if row != self.padding:
                dweight[row] += dy[index]
        run.gradients["weight"] = dweight
        return (np.zeros_like(x[0]),)

    def pattern(self, *x: Array) -> Array | None:
        """The rows."""
        return self._rows(x[0])

    def _rows(self, x: Array) -> Array:
        whole: Array = np.clip(np.rint(np.nan_to_num(x)), 0, self.vocabulary - 1).astype(np.int64)
        return whole

    def lower(self, to: Lowering) -> None:
        """One kernel."""
        to.call("gather.rows", to.x[0], to.parameter("weight"), to.out, writes=[to.out])

    def lower_backward(self, to: Lowering) -> None:
        """One kernel for the vectors; zeros for the input, if they are wanted."""
        dweight = to.parameter_gradient("weight")
        to.call(
            "gather.rows_backward", to.x[0], to.dy, dweight, writes=[dweight], padding=self.padding
        )
        if to.wanted[0]:
            dx = to.gradient_buffer(0)
            to.call("reductions.nothing", to.dy, dx, writes=[dx], axes=(), order=())
            to.gradient(0, dx)

    def torch(self, *inputs: Shape) -> Torch:
        """`nn.Embedding`."""
        places = Torch("torch.Tensor.long", (X(0),))
        return replace(self._module(), inputs=(places,))

    def _module(self) -> Torch:
        options = {"padding_idx": self.padding}
        return Torch(
            "nn.Embedding", (self.vocabulary, self.width), options, defaults={"padding_idx": None}
        )

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Gather` of the rows of stored numbers."""
        table = read.array(read.given(0))
        if table is None or table.ndim != 2 or read.attributes.whole("axis") not in (0, -2):
            return
        x = read.root.inputs[1]
        if x is not None and x.maker is not None and x.shape is None:
            rounded = read.pattern("Gather(c_w, Cast(Round(x)))")
            x = None if rounded is None else rounded.values["x"]
        yield read.layer(cls(*table.shape), x, parameters={"weight": read.given(0)})

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Gather` of the rows."""
        return to("Gather", to.parameters["weight"], to.whole(0), axis=0)


@record
class _OfWholeNumbers(Embedding):
    """An embedding of an input that is declared to hold whole numbers."""

    def torch(self, *inputs: Shape) -> Torch:
        """`nn.Embedding`."""
        return self._module()
