"""The origin of a net, for consumers that keep its blocks, loops and arguments."""

from __future__ import annotations

from collections.abc import Mapping

from netspec.compiler.ir.constants import Constant
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.records import record


@record
class Written:
    """The origin of a net: its syntax, the file that it is in, and the arguments that were given.

    In a graph blocks, loops and arguments are resolved, so a consumer that keeps them starts from
    here.
    """

    net: syntax.Net
    module: Module
    arguments: Mapping[str, Constant]
