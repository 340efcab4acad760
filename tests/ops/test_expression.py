"""Every way of computing a formula gives the same numbers."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.compiler.ir.elementwise_op import ElementwiseOp, operand_names
from netspec.compiler.ir.expression import (
    FUNCTIONS,
    Apply,
    Const,
    Expression,
    Var,
    evaluate,
    exp,
    log,
    logical_and,
    maximum,
    minimum,
    np_errstate,
    numpy_function,
    product,
    substitute,
    total,
    variables,
    walk,
    where,
)
from netspec.compiler.ir.op import X
from netspec.compiler.ir.plan import Buffer, ElementwiseStep, Operand
from netspec.compiler.ir.torch_formula import torch_formula
from netspec.compiler.numpy_backend.emit_elementwise import emit, row_width
from netspec.compiler.ops import registry
from netspec.kernels import elementwise, erf
from netspec.kernels.with_numexpr import NumexprFunction
from netspec.testing.op_examples import graph_of

# The stored shape of an image, and the operands: two pictures and two channel vectors.
IMAGE, BATCH = (2, 3, 4), 3
FULL, VECTORS = ("a", "b"), ("v", "w")
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}

# Where a function is steep or undefined, rounding becomes a large error, so arguments avoid that.
GUARDS = {
    "divide": lambda x, y: x / (1 + _function("absolute", y)),
    "log": lambda x: log(1 + _function("absolute", x)),
    "log1p": lambda x: _function("log1p", _function("absolute", x)),
    "sqrt": lambda x: _function("sqrt", 1 + _function("absolute", x)),
    "exp": lambda x: exp(_function("tanh", x)),
    "expm1": lambda x: _function("expm1", _function("tanh", x)),
    "power": lambda x, y: (1 + _function("absolute", x)) ** _function("tanh", y),
}


def _function(name: str, *arguments: Expression) -> Apply:
    return Apply(name, arguments)


def expressions(names: tuple[str, ...], *, numexpr: bool = False) -> st.SearchStrategy[Expression]:
    """Generate formulas over these variables; with `numexpr`, only with functions that numexpr has."""
    constants = st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0, -0.25]).map(Const)
    leaves = st.one_of(st.sampled_from(names).map(Var), constants)
    # Only leaves are compared, because exp is rounded differently by each emitter, which would
    # decide.
    compare = st.builds(_function, st.sampled_from(["greater", "less"]), leaves, leaves)
    conditions = st.one_of(compare, st.builds(logical_and, compare, compare))
    arity = {
        name: f.text.count("{}")
        for name, f in FUNCTIONS.items()
        if not f.boolean and name != "where" and (f.in_numexpr or not numexpr)
    }

    def extend(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
        calls = [
            st.builds(GUARDS.get(name, lambda *x, name=name: _function(name, *x)), *[inner] * n)
            for name, n in arity.items()
        ]
        # The same subformula occurs twice, because an emitter computes it once.
        twice = inner.map(lambda x: x * (x + 1))
        return st.one_of(*calls, twice, st.builds(where, conditions, inner, inner))

    return st.recursive(leaves, extend, max_leaves=10)


def step_of(formula: Expression, emitter: Any = "numpy") -> ElementwiseStep:
    operands: dict[str, Operand] = {
        name: Buffer(name, IMAGE) if name in FULL else Buffer(name, IMAGE[-1:], batched=False)
        for name in variables(formula)
    }
    return ElementwiseStep(Buffer("out", IMAGE), formula, operands, ("node",), (), emitter)


def random_values(dtype: str, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {**dict.fromkeys(FULL, (BATCH, *IMAGE)), **dict.fromkeys(VECTORS, IMAGE[-1:])}
    return {name: rng.uniform(-2, 2, shape).astype(dtype) for name, shape in shapes.items()}


def run_step(
    step: ElementwiseStep, values: Mapping[str, np.ndarray], dtype: str, *, into: str | None = None
) -> np.ndarray:
    """Run a step's source. With `into`, the result takes the place of that operand."""
    emitted = emit(step, "fused")
    namespace: dict[str, Any] = {
        "np": np, "elementwise": elementwise, "erf": erf, "NumexprFunction": NumexprFunction
    }  # fmt: skip
    exec(emitted.definition, namespace)
    arrays = {name: values[name].copy() for name in step.operands}
    out = np.full((BATCH, *IMAGE), np.nan, dtype) if into is None else arrays[into]
    scratch = [np.full(elementwise.scratch_size(row_width(step), emitted.registers), np.nan, dtype)]
    namespace["fused"](out, *arrays.values(), *(scratch if step.emitter == "numpy" else []))
    for name, array in arrays.items():
        if name != into:
            np.testing.assert_array_equal(array, values[name], f"{name} was overwritten")
    return out


def assert_agrees(
    got: np.ndarray, formula: Expression, values: Mapping[str, np.ndarray], dtype: str
) -> None:
    """Check a result against the evaluation in double precision, as far as its rounding allows."""
    exact = {name: array.astype(np.float64) for name, array in values.items()}
    expected = np.broadcast_to(evaluate(formula, exact), got.shape)
    largest = max(float(np.abs(evaluate(part, exact)).max()) for part in walk(formula))
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * max(1, largest) ** 2)


both_types = pytest.mark.parametrize("dtype", TOLERANCE)
many = settings(max_examples=60)


@pytest.mark.parametrize("tile", [24, 1 << 15])
@both_types
@many
@given(formula=expressions(FULL + VECTORS))
def test_the_numpy_source_computes_the_formula(tile, dtype, formula):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elementwise, "TILE", tile)
        values = random_values(dtype)
        step = step_of(formula)
        assert_agrees(run_step(step, values, dtype), formula, values, dtype)
        for name in FULL:
            if name in step.operands:
                in_place = run_step(step, values, dtype, into=name)
                assert_agrees(in_place, formula, values, dtype)


@both_types
@many
@given(formula=expressions(FULL, numexpr=True).filter(variables))
def test_the_numexpr_source_computes_the_formula(dtype, formula):
    values = random_values(dtype)
    got = run_step(step_of(formula, "numexpr"), values, dtype)
    assert_agrees(got, formula, values, dtype)


@both_types
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_by_itself(name, dtype):
    """Each function of single variables has full precision, with each emitter that has it."""
    function = FUNCTIONS[name]
    operands = [Var("a"), Var("b")][: function.text.count("{}")]
    formula: Expression = Apply(name, tuple(operands))
    if name == "logical_and":
        formula = logical_and(Var("a") > 0, Var("b") > 0)
    if name == "where":
        formula = where(Var("a") > 0, Var("b"), Var("a"))
    elif function.boolean:
        formula = where(formula, 2, 1)
    values = {n: np.abs(x) if function.partial else x for n, x in random_values(dtype).items()}
    emitters = ["numpy", "numexpr"] if function.in_numexpr else ["numpy"]
    for emitter in emitters:
        assert_agrees(run_step(step_of(formula, emitter), values, dtype), formula, values, dtype)


@settings(max_examples=40)
@given(formula=expressions(FULL + VECTORS), inner=expressions(FULL))
def test_substitution_is_composition(formula, inner):
    values = random_values("float64")
    composed = substitute(formula, {"a": inner})
    assert set(variables(composed)) <= set(variables(formula)) - {"a"} | set(variables(inner))
    image = np.broadcast_to(evaluate(inner, values), values["a"].shape)
    np.testing.assert_array_equal(
        evaluate(composed, values) + 0 * image, evaluate(formula, values | {"a": image}) + 0 * image
    )
    assert substitute(formula, {}) == formula


@settings(max_examples=40)
@given(formula=expressions(FULL + VECTORS))
def test_the_text_says_what_is_computed(formula):
    values = random_values("float64")
    functions = {f.text.split("(")[0]: numpy_function(n) for n, f in FUNCTIONS.items()}
    with np_errstate():
        value = eval(str(formula), functions | values)  # text that the test made
    np.testing.assert_array_equal(value, evaluate(formula, values))


def test_variables_come_in_order_and_once():
    a, b, c = map(Var, "abc")
    assert variables(b * (a + b) - exp(c)) == ("b", "a", "c")
    assert variables(Const(3.0)) == ()


# ------------------------------------------------------------------------- particular difficulties


IN_PLACE = [
    where(Var("a") > 0, Var("a"), Var("b")),
    where(Var("a") > Var("b"), Var("b"), Var("a")),
    where(Var("a") > 0, Var("b"), Var("v") * Var("a")),
    where(Var("a") > 0, Var("a"), 0),
    where(Var("a") > 0, 0, Var("a")),
    Var("b") - Var("a") * Var("b"),
    (Var("a") + 1) * (Var("a") - Var("v")),
    Var("a") * 1,
    Var("a"),
]


@both_types
@pytest.mark.parametrize("formula", IN_PLACE, ids=str)
@pytest.mark.parametrize("into", FULL)
def test_a_result_can_take_the_place_of_an_operand(formula, into, dtype):
    values = random_values(dtype)
    if into in variables(formula):
        assert_agrees(run_step(step_of(formula), values, dtype, into=into), formula, values, dtype)


@both_types
def test_what_where_does_not_choose_may_be_infinite(dtype):
    values = random_values(dtype)
    values["a"][0] = 0
    for formula in (
        where(Var("a") > 0, log(Var("a")), 0),
        where(Var("a") > 0, 1 / Var("a"), 0),
        where(Var("a") < 0, exp(1e6 * Var("a")), 0),
        where(Var("a") > 0, 3, 1 / Var("a") + Var("b")),
    ):
        with np.errstate(all="ignore"):
            got = run_step(step_of(formula), values, dtype)
            expected = evaluate(formula, values)
        np.testing.assert_allclose(got, expected, rtol=1e-5)


@both_types
def test_infinite_numbers(dtype):
    values = random_values(dtype)
    formula = where(Var("a") > 0, Var("b"), Const(-math.inf)) * Var("v")
    got = run_step(step_of(formula), values, dtype)
    np.testing.assert_array_equal(got, evaluate(formula, values))
    got = run_step(step_of(where(Var("a") > 0, Var("b"), -math.inf), "numexpr"), values, dtype)
    np.testing.assert_array_equal(got, np.where(values["a"] > 0, values["b"], -np.inf))


def test_sums_and_products_of_many_are_not_deep():
    names = [f"x{i}" for i in range(2000)]
    values = {name: np.array(1 + i / 1e6) for i, name in enumerate(names)}
    terms = [Var(name) for name in names]
    assert variables(total(terms)) == tuple(names)
    np.testing.assert_allclose(evaluate(total(terms), values), sum(values.values()))
    np.testing.assert_allclose(
        evaluate(product(terms), values), np.prod(list(values.values())), rtol=1e-12
    )
    assert str(total(terms[:3])) == "((x0 + x1) + x2)"


def test_registers_are_used_again():
    """A long chain needs few registers, however often it uses a subformula."""
    x: Expression = Var("a")
    for _ in range(12):
        x = (x + Var("b")) * Var("a")
    assert emit(step_of(x), "fused").registers <= 2
    s = 1 / (1 + exp(-Var("a")))
    assert emit(step_of(s * (1 + Var("a") * (1 - s))), "fused").registers <= 3


ELEMENTWISE = [
    (cls, example)
    for cls in registry().values()
    if issubclass(cls, ElementwiseOp)
    for example in [e for e in cls.examples if len(e.inputs) <= len(FULL)][:1]
]


@pytest.mark.parametrize("emitter", ["numpy", "numexpr"])
@pytest.mark.parametrize(("cls", "example"), ELEMENTWISE, ids=[e.call for _, e in ELEMENTWISE])
def test_large_numbers_are_no_trouble(cls, example, emitter):
    """In single precision there is no warning, nothing is undefined, and values and slopes are as
    in double.

    What is already too large or undefined in double precision, such as exp(1e4), is left out.
    """
    ends = [0.0, 1.0, 5.0, 20.0, 80.0, 90.0, 110.0, 750.0, 1e4]
    x = np.array([*ends, *(-e for e in ends), 2.5, -2.5, 0.1, -0.1, 3.5, -3.5], np.float32)
    x = x.reshape(2, 3, 4)[None].repeat(BATCH, axis=0)
    op = graph_of(example.call, example.inputs).nodes[-1].op
    x = 1 + np.abs(x) if op.needs_positive else x
    names = FULL[: len(example.inputs)]
    # Any number will do for a parameter here.
    parameters = [Const(0.25) for _ in op.parameters(*example.inputs)]
    operands = [*map(Var, names), *parameters]
    value = op.value(*operands)
    with np.errstate(all="ignore"):
        found = evaluate(value, {name: x.astype(np.float64) for name in names})
    x = np.where(np.abs(found) < 1e30, x, np.float32(1))
    exact = {name: x.astype(np.float64) for name in names}
    exact["y"] = evaluate(value, exact)
    formulas = [
        value,
        *(substitute(d, {"y": Var("b")}) for d in op.derivatives(Var("y"), *operands)),
    ]
    if "b" in names:  # several inputs: products and sums, of no interest here
        formulas = [value]
    exact.setdefault("b", exact["y"])
    values = {name: exact[name].astype(np.float32) for name in FULL}
    for formula in formulas:
        functions = [FUNCTIONS[e.function] for e in walk(formula) if isinstance(e, Apply)]
        if emitter == "numexpr" and not (functions and all(f.in_numexpr for f in functions)):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            step = dataclasses.replace(step_of(formula), emitter=emitter)
            got = run_step(step, values, "float32")
        expected = np.broadcast_to(evaluate(formula, exact), got.shape)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


# ----------------------------------------------------------------------------------------- PyTorch


@pytest.mark.parametrize(
    "formula",
    [
        *(_function(name, *map(Var, "ab"[: f.text.count("{}")])) for name, f in FUNCTIONS.items()
          if f.text.count("{}") < 3 and name != "logical_and"),
        where(logical_and(Var("a") > 0, Var("b") < 0.5), Var("a"), exp(Const(0.5))),
        where(Var("a") < Var("b"), 0.1, 2) * minimum(2, Var("a")),
        Const(1.0) - 3 * maximum(minimum(Var("a"), 0.3), -0.1),
        Var("b"),
        Const(0.1),
    ],
    ids=str,
)  # fmt: skip
def test_a_formula_is_the_same_in_pytorch(formula: Expression) -> None:
    torch = pytest.importorskip("torch")
    from netspec.runtime.models.pytorch import expressions

    arrays = {name: np.random.default_rng(i).uniform(0.1, 1, (2, 3)) for i, name in enumerate("ab")}
    written = torch_formula(formula, {"a": X(0), "b": X(1)})
    given = [torch.tensor(array) for array in arrays.values()]
    found = expressions.evaluate(written, given, None, {}, training=True)
    assert found.shape == (2, 3)
    assert found.dtype == (torch.bool if is_boolean(formula) else torch.float64)
    np.testing.assert_allclose(
        found.numpy(), np.broadcast_to(evaluate(formula, arrays), (2, 3)), rtol=1e-14
    )


def is_boolean(formula: Expression) -> bool:
    return isinstance(formula, Apply) and FUNCTIONS[formula.function].boolean


@pytest.mark.parametrize(
    "op",
    [op for op in registry().values() if issubclass(op, ElementwiseOp) and not op.parameter_names],
    ids=lambda op: op.name,
)
def test_the_formula_of_an_op_is_what_pytorch_computes(op: type[ElementwiseOp]) -> None:
    torch = pytest.importorskip("torch")
    from netspec.runtime.models.pytorch import expressions

    for example in op.examples:
        node = graph_of(example.call, example.inputs).nodes[0]
        operands = {name: X(i) for i, name in enumerate(operand_names(len(example.inputs)))}
        assert isinstance(node.op, ElementwiseOp)
        written = torch_formula(node.op.value(*map(Var, operands)), operands)
        rng = np.random.default_rng(0)
        arrays = [rng.uniform(0.1, 1, (2, *shape)) for shape in example.inputs]
        given = [torch.tensor(array) for array in arrays]
        ours, theirs = (
            expressions.evaluate(form, given, None, {}, training=True)
            for form in (written, node.op.torch(*example.inputs))
        )
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12, atol=1e-12)
