"""Where a net comes from, for those who keep its blocks, loops and arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netspec.compiler.ir.constants import Constant
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax


@dataclass(frozen=True)
class Written:
    """Where a net comes from: its syntax, the file it is in, and the arguments that were given.

    A graph has resolved blocks, loops and arguments; what is to keep them starts from here.
    """

    net: syntax.Net
    module: Module
    arguments: Mapping[str, Constant]
