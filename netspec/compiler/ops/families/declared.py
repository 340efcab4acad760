"""The ops of `parameter`, `buffer` and `constant`: arrays of a net's own as values."""

from collections.abc import Iterable
from typing import ClassVar

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.graph import Role
from netspec.compiler.ir.storage import from_planes, to_planes
from netspec.records import record


@record
class DeclaredOp(Op):
    """An array that the net holds, the same for every image of a batch.

    It takes the size of the batch from its input, of which it reads nothing else: dL/dx = 0. With
    g = dL/dy, dL/dw = the sum of g over the batch. The array is a parameter without a name under
    the node's: its full name is that of the node.
    """

    sizes: tuple[int, ...] = attribute(IntList(1), "the shape as it is stored")
    batch_axis: bool = attribute(Bool(), "whether the first axis, of size 1, is the batch's", False)

    onnx_ends = ("Expand",)
    reads_batch_alone = True

    _role: ClassVar[Role]

    def takes(self, index: int) -> tuple[NumberType, ...]:
        """Anything: only the size of the batch counts."""
        return "real", "int", "bool"

    def shape(self, *inputs: Shape) -> Shape:
        """The sizes, without an axis of the batch."""
        return self.sizes[1:] if self.batch_axis else self.sizes

    def parameters(self, *inputs: Shape) -> tuple[ParameterSpec, ...]:
        """The array."""
        return (ParameterSpec("", self.sizes, Ones(), self._role),)

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """No."""
        return False

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """The array, once for each image."""
        stored = run.parameters[""].reshape(self.shape())
        y: Array = np.broadcast_to(stored, (len(x[0]), *stored.shape)).astype(x[0].dtype)
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The sum over the batch."""
        if self._role == "scale":
            run.gradients[""] = dy.sum(0).reshape(self.sizes)
        return (np.zeros_like(x[0]),)

    def lower(self, to: Lowering) -> None:
        """A broadcast, which is fused with what reads it. A picture is put in order before."""
        shape = self.shape()
        array = to.parameter("")
        assert array is not None
        stored = to.buffer("stored", to.out.shape, batched=False)
        if to.layout.keeps_order(shape):
            to.view(stored, array)
        else:
            planes = to.buffer("planes", (1, *shape), batched=False)
            image = to.buffer("image", (1, *to.out.shape), batched=False)
            to.view(planes, array)
            from_planes(to, planes, image, to.layout, shape)
            to.view(stored, image)
        to.elementwise(to.out, Var("w"), w=stored)

    def lower_backward(self, to: Lowering) -> None:
        """A sum over the batch."""
        if self._role == "scale":
            gradient = to.parameter_gradient("")
            dy = to_planes(to, to.dy, to.layout, self.shape(), "dy_planes")
            to.call("reductions.over_batch", dy, gradient, writes=[gradient])

    def torch(self, *inputs: Shape) -> Torch:
        """The array, repeated for the batch."""
        return Torch("torch.broadcast_to", (P(""), (BATCH, *self.shape())))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Expand` of stored numbers for the batch."""
        for text in ("Expand(Unsqueeze(c_w, 0), s)", "Expand(c_w, s)"):
            found = read.pattern(text)
            array = None if found is None else read.array(found.values["c_w"])
            target = None if found is None else read.sizes(found.values["s"])
            if found is None or array is None or target is None or array.ndim == 0:
                continue
            behind = "Unsqueeze" not in text
            if target[0] != BATCH or (behind and (array.shape[0] != 1 or array.ndim < 2)):
                continue
            if any(size != 1 for size in target[1:]) and target[1:] != array.shape[behind:]:
                continue
            if read.said.startswith(cls.name) or (not read.said and cls._role == cls._usual(array)):
                op = cls(array.shape, behind)
                held = {"": found.values["c_w"]}
                yield read.layer(op, read.inputs[0], found=found, parameters=held)

    @staticmethod
    def _usual(array: Array) -> Role:
        return "scale" if array.dtype.kind == "f" else "statistic"

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Expand`, once for each image."""
        array = to.parameters[""]
        image = array if self.batch_axis else to("Unsqueeze", array, to.ints(0))
        return to("Expand", image, to.sizes((BATCH, *(1 for _ in to.shape))))


class DeclaredParameter(DeclaredOp):
    """`parameter NAME: [sizes] = rule`, which is learned."""

    name = "parameter"
    _role = "scale"


class DeclaredBuffer(DeclaredOp):
    """`buffer NAME: [sizes] = rule`, which is saved and not learned."""

    name = "buffer"
    _role = "statistic"


class DeclaredConstant(DeclaredOp):
    """`constant NAME: [sizes] = rule`, which is neither learned nor saved."""

    name = "constant"
    _role = "constant"


DECLARED: dict[str, type[Op]] = {
    op.name: op for op in (DeclaredParameter, DeclaredBuffer, DeclaredConstant)
}
