"""Products of two values by letters for their axes."""

import math
from collections.abc import Iterable, Mapping
from string import ascii_letters
from typing import NamedTuple

from netspec.compiler.ir.aten_form import AtenCall, AtenTensor, NoNetspecFormError, Then
from netspec.compiler.ir.contract import *
from netspec.compiler.ops.families.rearranging import move
from netspec.compiler.ops.families.weighted_sum import odd_weights

EINSUM = Code.error(
    "shape/einsum", "an equation that does not fit the values, or is no product of two"
)


class _Letters(NamedTuple):
    """The letters of an equation without that of the batch, by where they stand."""

    left: str
    right: str
    out: str
    size: Mapping[str, int]

    @property
    def every(self) -> str:
        """In both values and in the product: a product each."""
        return "".join(c for c in self.out if c in self.left and c in self.right)

    @property
    def rows(self) -> str:
        """In the first value and in the product."""
        return "".join(c for c in self.out if c in self.left and c not in self.right)

    @property
    def columns(self) -> str:
        """In the second value and in the product."""
        return "".join(c for c in self.out if c in self.right and c not in self.left)

    @property
    def summed(self) -> str:
        """In both values alone."""
        return "".join(c for c in self.left if c in self.right and c not in self.out)

    @property
    def matrices(self) -> tuple[str, str, str]:
        """The three as matrices that `matmul` multiplies."""
        every, rows, columns, summed = self.every, self.rows, self.columns, self.summed
        return every + rows + summed, every + summed + columns, every + rows + columns

    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of these matrices: (products, rows, columns)."""
        every, rows, columns, summed = (
            math.prod(self.size[c] for c in group)
            for group in (self.every, self.rows, self.columns, self.summed)
        )
        return (every, rows, summed), (every, summed, columns), (every, rows, columns)


def _equation(call: AtenCall) -> str:
    """Return an equation of PyTorch's with the batch in each part: a tensor that is the same for
    every image has a letter more in front.

    Raises:
        NoNetspecFormError: if it is no product of two values with the batch in front.
    """
    text = str(call["equation"]).replace(" ", "")
    terms = text.replace("->", ",").split(",")
    given = [call.arguments.get(f"tensors.{i}") for i in range(len(terms) - 1)]
    call.require("->" in text and "." not in text, "its product has no letters of its own")
    call.require(len(given) == 2, "it is no product of two")
    batch = terms[-1][:1]
    for i, x in enumerate(given):
        if isinstance(x, AtenTensor) and x.first:
            call.require(batch not in terms[i], "its batch is not in front")
            terms[i] = batch + terms[i]
    return f"{terms[0]},{terms[1]}->{terms[2]}"


# Letters of a matrix product: rows, columns and what is summed over are `i`, `j` and `k`.
_IN_FRONT = "abcdefgh"


def _product_terms(left: AtenTensor, right: AtenTensor, *, turned: bool) -> tuple[str, str, str]:
    """Return the letters of the axes of two values and of their matrix product, without the batch's.

    An axis of size 1 that is repeated as often as the other value has it gets a `1`.

    Args:
        left: a value of vectors, one for each image, or of matrices.
        right: a value of matrices, or a vector.
        turned: whether the matrices on the right are transposed, as the weight of a linear layer is.

    Raises:
        NoNetspecFormError: if PyTorch multiplies over the batch.
    """
    images = [x for x in (left, right) if not x.first and not x.leads]
    if len({x.rank for x in images}) > 1 or (len(right.shape) == 1 and right.rank != 1):
        raise NoNetspecFormError("it goes over the images of the batch")
    fronts = [x.shape[:-2] for x in (left, right)]
    letters = _IN_FRONT[: max(map(len, fronts))]
    terms = [letters[len(letters) - len(front) :] for front in fronts]
    sizes = [dict(zip(term, front, strict=True)) for term, front in zip(terms, fronts, strict=True)]
    for letter in set(terms[0]) & set(terms[1]):
        for at, other in ((0, 1), (1, 0)):
            if sizes[at][letter] == 1 and sizes[other][letter] != 1:
                terms[at] = terms[at].replace(letter, "1")
    rows, columns = "i" * (len(left.shape) > 1), "j" * (len(right.shape) > 1)
    matrix = columns + "k" if turned else "k" + columns
    return terms[0] + rows + "k", terms[1] + matrix, letters + rows + columns


def _product(operators: tuple[str, ...], left: str, right: str, adds: str = "") -> AtenForm:
    """Return the form of a matrix product for which `matmul` and `linear` have none: of values with
    different numbers of axes, such as a vector for each image and a matrix that is the same for all.

    Args:
        operators: their names.
        left: the argument on the left.
        right: that on the right; the weight of `linear` is transposed.
        adds: the argument that is added.
    """

    def terms(call: AtenCall) -> tuple[str, str, str]:
        given = call.tensor(left), call.tensor(right)
        return _product_terms(*given, turned=right == "weight")

    def equation(call: AtenCall) -> str:
        return "n{},n{}->n{}".format(*(term.replace("1", "") for term in terms(call)))

    def repeated(name: str, at: int) -> Then:
        def sizes(call: AtenCall) -> Shape:
            pairs = zip(terms(call)[at], call.tensor(name).shape, strict=True)
            return tuple(size for letter, size in pairs if letter != "1")

        return Then("reshape", {"sizes": sizes}, only_shapes=True)

    def unless(call: AtenCall) -> None:
        scales = (call.arguments.get(name, 1) for name in ("alpha", "beta"))
        call.require(set(scales) == {1}, "`alpha` or `beta` is not 1")

    return AtenForm(
        operators, (left, right), attributes={"equation": equation}, unless=unless,
        before={left: (repeated(left, 0),), right: (repeated(right, 1),)}, is_last=True, adds=adds,
    )  # fmt: skip


@register
class Einsum(Op):
    """Products summed over axes, by letters: `einsum("bqd,bkd->bqk", q, k)` is q k^T, image by image.

    The first letter is the batch. A letter that is not in the product is summed over:
    y[b, q, k] = sum over d of q[b, q, d] k[b, k, d]. The gradients are products of the same kind: with
    g = dL/dy, dL/dq = "bqk,bkd->bqd" of g and k, and dL/dk = "bqd,bqk->bkd" of q and g.
    """

    equation: str = attribute(EquationOf(), "the letters of both values and of the product")

    name = "einsum"
    onnx_ends = ("Einsum",)
    storage = Storage.ANY
    arity = 2
    moves_axes = True
    aten = (
        AtenForm(("einsum",), ("tensors",), attributes={"equation": _equation}),
        _product(("matmul",), "self", "other"),
        _product(("mm", "bmm"), "self", "mat2"),
        _product(("addmm",), "mat1", "mat2", adds="self"),
        _product(("linear",), "input", "weight", adds="bias"),
    )
    examples = (
        Example('einsum("bqd,bkd->bqk")', ((2, 3), (4, 3))),
        Example('einsum("bhqd,bkhd->bqkh")', ((2, 3, 2), (2, 2, 2))),
        Example('einsum("ni,nj->nij")', ((3,), (2,))),
        Example('einsum("bchw,bcd->bdhw")', ((2, 2, 2), (2, 3))),
    )
    bad_examples = (
        BadExample('einsum("bqd,bkd->bqk")', ((3, 4), (5, 3)), EINSUM),
        BadExample('einsum("bqd,bkd->bqk")', ((3, 4), (5,)), EINSUM),
        BadExample('einsum("qd,kd->qk")', ((4,), (4,)), EINSUM),
        BadExample('einsum("bqd,bkd->bq")', ((3, 4), (5, 4)), EINSUM),
        BadExample('einsum("bii,bi->bi")', ((3, 3), (3,)), EINSUM),
        BadExample('einsum("bij,bjk")', ((3, 3), (3, 3)), codes.CALL_VALUE),
    )

    def _terms(self) -> list[str]:
        return self.equation.replace("->", ",").split(",")

    def lint(self, node: Node, graph: Graph) -> Iterable[Finding]:
        """A warning about weights of a softmax along another axis than the one that is summed over."""
        letters = self._letters(*graph.shapes_into(node))
        if len(letters.summed) == 1:
            for at, term in enumerate((letters.left, letters.right)):
                yield from odd_weights(node, graph, at, term.index(letters.summed) + 1)

    def _letters(self, *inputs: Shape) -> _Letters:
        """The letters with their sizes.

        Raises:
            ShapeError: `shape/einsum`.
        """
        left, right, out = terms = self._terms()
        of_one_image = [*map(len, (left, right))] == [*map(len, inputs)]
        help = self._with_batch() if of_one_image else None
        if any(term[0] != out[0] or out[0] in term[1:] for term in terms):
            self._refuse(
                f"the batch must be the first letter of each part of `{self.equation}`", help
            )
        for term in terms:
            if len(set(term)) < len(term):
                self._refuse(f"a letter may stand once in `{term}`")
        for letter in dict.fromkeys("".join(terms)):
            if sum(letter in term for term in terms) < 2:
                self._refuse(
                    f"`{letter}` stands in one part alone: `sum` goes over an axis of one value"
                )
        size: dict[str, int] = {}
        for term, shape in zip((left, right), inputs, strict=True):
            if len(term) - 1 != len(shape):
                self._refuse(
                    f"`{term}` has {len(term)} letters, which do not fit {show_shape(shape)}", help
                )
            for letter, extent in zip(term[1:], shape, strict=True):
                if extent - size.setdefault(letter, extent):
                    shown = " and ".join(map(show_shape, inputs))
                    self._refuse(f"`{letter}` is {size[letter]} and {extent} in {shown}")
        return _Letters(left[1:], right[1:], out[1:], size)

    def _with_batch(self) -> str:
        """Advice to write the batch, which equations for one image have not."""
        letter = next((c for c in "b" + ascii_letters if c not in self.equation), "b")
        left, right, out = (letter + term for term in self._terms())
        return f'the batch has a letter too, the first: "{left},{right}->{out}"'

    @staticmethod
    def _refuse(message: str, help: str | None = None) -> None:
        raise ShapeError(EINSUM, message, blame="equation", help=help)

    def shape(self, *inputs: Shape) -> Shape:
        """The sizes of the letters of the product."""
        letters = self._letters(*inputs)
        if not letters.out:
            self._refuse(f"`{self.equation}` leaves no axis beside the batch")
        return tuple(letters.size[c] for c in letters.out)

    def macs(self, *inputs: Shape) -> int:
        """The product of the sizes of all letters."""
        return math.prod(self._letters(*inputs).size.values())

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: a number depends on whole axes."""
        return None

    def mixes(self, over: tuple[int | None, ...], *inputs: Shape) -> bool:
        """Along a letter that is summed over, and where the axis has two letters."""
        letters = self._letters(*inputs)
        pairs = zip((letters.left, letters.right), over, strict=True)
        names = {term[at - 1] for term, at in pairs if at is not None}
        return len(names) > 1 or not names <= set(letters.out)

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """`np.einsum`."""
        y: Array = np.einsum(self.equation, *x)
        return y

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The two products."""
        left, right, out = self._terms()
        return (
            np.einsum(f"{out},{right}->{left}", dy, x[1]),
            np.einsum(f"{left},{out}->{right}", x[0], dy),
        )

    def lower(self, to: Lowering) -> None:
        """One matrix product, of values put in its order first."""
        letters = self._letters(*to.x_shapes)
        for i, name in enumerate(("left", "right")):
            to.saved[name] = self._matrix(to, i, to.x[i], name)
        product = to.buffer("product", letters.shapes()[2])
        to.call("matmul.forward", to.saved["left"], to.saved["right"], product, writes=[product])
        move(to, product, to.out, letters.matrices[2], to.layout.stored(letters.out), letters.size)

    def lower_backward(self, to: Lowering) -> None:
        """A matrix product for each gradient that is wanted."""
        letters = self._letters(*to.x_shapes)
        dy = self._matrix(to, 2, to.dy, "dproduct")
        for i, term in enumerate((letters.left, letters.right)):
            if not to.wanted[i]:
                continue
            matrix, dx = to.buffer(f"dmatrix{i}", letters.shapes()[i]), to.gradient_buffer(i)
            if i == 0:
                to.call("matmul.backward_left", dy, to.saved["right"], matrix, writes=[matrix])
            else:
                to.call("matmul.backward_right", to.saved["left"], dy, matrix, writes=[matrix])
            move(to, matrix, dx, letters.matrices[i], to.x_layouts[i].stored(term), letters.size)
            to.gradient(i, dx)

    def _matrix(self, to: Lowering, part: int, source: Buffer, name: str) -> Buffer:
        """One of the two values, or the gradient of their product, as matrices."""
        letters = self._letters(*to.x_shapes)
        matrix = to.buffer(name, letters.shapes()[part])
        term = (letters.left, letters.right, letters.out)[part]
        stored = (*to.x_layouts, to.layout)[part].stored(term)
        move(to, source, matrix, stored, letters.matrices[part], letters.size)
        return matrix

    def torch(self, *inputs: Shape) -> Torch:
        """`torch.einsum`."""
        return Torch("torch.einsum", (self.equation, X(0), X(1)))

    @classmethod
    def from_onnx(cls, read: OnnxReader) -> Iterable[OnnxLayer | None]:
        """`Einsum`."""
        if len(read.root.inputs) == 2:
            yield read.form(
                cls(read.attributes.text("equation").replace(" ", "")),
                *filter(None, read.root.inputs),
            )

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Einsum`."""
        return to("Einsum", *to.x, equation=self.equation)
