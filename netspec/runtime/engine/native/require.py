"""Whether a net can be machine code here, before anything is compiled or computed."""

from __future__ import annotations

import numpy as np

from netspec.compiler.c_backend.folding import Constants
from netspec.compiler.c_backend.program_file import program_source
from netspec.compiler.ir.graph import Graph
from netspec.compiler.numpy_backend.pipeline import make_plan
from netspec.compiler.passes.bind_sizes import open_sizes
from netspec.runtime.engine.native.c_compiler import require_compiler


def require_c(graph: Graph, *, training: bool = False) -> None:
    """Refuse a net that has layers without a form in C, and a machine without a compiler.

    A net with open sizes is found out when it gets an image.

    Args:
        graph: the net.
        training: whether it is to be trained too.

    Raises:
        NetspecError: `compile/no-compiler`, `compile/no-c` for each such layer.
    """
    require_compiler()
    if not open_sizes(graph):
        plan = make_plan(graph, training=training, backward=training)
        program_source(graph, plan, Constants({}), np.dtype(np.float32))
