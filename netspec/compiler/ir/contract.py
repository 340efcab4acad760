"""The names that the file of an op needs: `from netspec.compiler.ir.contract import *`.

`np` is NumPy, which is imported when it is first used; checking a file never uses it. `Array`,
`Lowering`, `OnnxAttribute`, `OnnxForm`, `OnnxValue`, `Scratch` and `StepForm` are for annotations.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.compiler.ir.aten_form import Always, AtenForm, ModuleForm, Then
from netspec.compiler.ir.attributes import (
    MAX_SIZE,
    AxesOf,
    AxisOf,
    Bool,
    Choice,
    EquationOf,
    Factors,
    FactorsOf,
    Int,
    IntList,
    Padding,
    PaddingOf,
    Real,
    Sizes,
    SizesOf,
    attribute,
)
from netspec.compiler.ir.elementwise_op import ElementwiseOp
from netspec.compiler.ir.expression import (
    Const,
    Expression,
    Var,
    absolute,
    cos,
    elu,
    erf,
    exp,
    expm1,
    log,
    log1p,
    logical_and,
    maximum,
    minimum,
    product,
    sigmoid,
    sin,
    sqrt,
    tanh,
    total,
    where,
)
from netspec.compiler.ir.graph import Graph, Node, Shape, show_shape
from netspec.compiler.ir.idiom import Idiom
from netspec.compiler.ir.initializers import (
    Constant,
    KaimingUniform,
    Ones,
    Uniform,
    XavierUniform,
    Zeros,
)
from netspec.compiler.ir.layout import Storage
from netspec.compiler.ir.onnx_read import NO_END, FileValue, Found, Held, OnnxLayer, OnnxReader
from netspec.compiler.ir.op import (
    BATCH,
    ITEM,
    TRAINING,
    BadExample,
    Evaluation,
    Example,
    Finding,
    Fix,
    NoOnnxFormError,
    Op,
    P,
    ParameterSpec,
    ShapeError,
    Torch,
    X,
    register,
)
from netspec.compiler.ir.storage import (
    axis_name,
    from_planes,
    require_axis_free,
    resolve_axis,
    to_planes,
)
from netspec.compiler.syntax.tree import NumberType
from netspec.diagnostics import Code

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from netspec.compiler.ir.onnx_form import OnnxAttribute, OnnxForm, OnnxValue
    from netspec.compiler.ir.plan import Buffer, Lowering, Scratch
    from netspec.compiler.ir.step_form import StepForm

    Array = NDArray[Any]
else:

    class _Deferred(ModuleType):
        """A module that is imported when one of its attributes is first read."""

        def __getattr__(self, name: str) -> Any:
            return getattr(importlib.import_module(self.__name__), name)

    np = _Deferred("numpy")
    # Names that occur only in annotations need not be loaded.
    Array = Buffer = Lowering = OnnxAttribute = OnnxForm = OnnxValue = Scratch = StepForm = Any

__all__ = [
    "BATCH",
    "ITEM",
    "MAX_SIZE",
    "NO_END",
    "TRAINING",
    "Always",
    "Array",
    "AtenForm",
    "AxesOf",
    "AxisOf",
    "BadExample",
    "Bool",
    "Buffer",
    "Choice",
    "Code",
    "Const",
    "Constant",
    "ElementwiseOp",
    "EquationOf",
    "Evaluation",
    "Example",
    "Expression",
    "Factors",
    "FactorsOf",
    "FileValue",
    "Finding",
    "Fix",
    "Found",
    "Graph",
    "Held",
    "Idiom",
    "Int",
    "IntList",
    "KaimingUniform",
    "Lowering",
    "ModuleForm",
    "NoOnnxFormError",
    "Node",
    "NumberType",
    "Ones",
    "OnnxAttribute",
    "OnnxForm",
    "OnnxLayer",
    "OnnxReader",
    "OnnxValue",
    "Op",
    "P",
    "Padding",
    "PaddingOf",
    "ParameterSpec",
    "Real",
    "Scratch",
    "Shape",
    "ShapeError",
    "Sizes",
    "SizesOf",
    "StepForm",
    "Storage",
    "Then",
    "Torch",
    "Uniform",
    "Var",
    "X",
    "XavierUniform",
    "Zeros",
    "absolute",
    "attribute",
    "axis_name",
    "codes",
    "cos",
    "elu",
    "erf",
    "exp",
    "expm1",
    "from_planes",
    "log",
    "log1p",
    "logical_and",
    "maximum",
    "minimum",
    "np",
    "product",
    "register",
    "require_axis_free",
    "resolve_axis",
    "show_shape",
    "sigmoid",
    "sin",
    "sqrt",
    "tanh",
    "to_planes",
    "total",
    "where",
]
