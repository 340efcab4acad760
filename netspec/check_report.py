"""What `netspec.check` returns: the errors and warnings of a file, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netspec.compiler.driver import Request, compile_request
from netspec.compiler.parse.shipped_nets import find_net
from netspec.compiler.requirements import (
    FORBID_NAME,
    REQUIRE_NAME,
    Requirements,
    named_ops,
    sizes,
    with_unmet,
)
from netspec.diagnostics import Diagnostic, plural
from netspec.net import constants
from netspec.records import record


@record(repr=False)
class CheckReport:
    """The diagnostics of a file, in the order of their places. It is true if none is an error."""

    diagnostics: tuple[Diagnostic, ...]

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """Those that are errors."""
        return tuple(d for d in self.diagnostics if d.severity == "error")

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """Those that are warnings."""
        return tuple(d for d in self.diagnostics if d.severity == "warning")

    def __bool__(self) -> bool:
        return not self.errors

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.diagnostics)) or "no errors and no warnings"

    def __repr__(self) -> str:
        counts = f"{plural(len(self.errors), 'error')}, {plural(len(self.warnings), 'warning')}"
        return f"<netspec.CheckReport: {counts}>"

    def _repr_html_(self) -> str:
        from netspec.text import html

        return html.preformatted(str(self))


def check(
    path: str | Path,
    /,
    net: str | None = None,
    *,
    asserts: Sequence[str] = (),
    forbid: Sequence[str] = (),
    require: Sequence[str] = (),
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    **arguments: Any,
) -> CheckReport:
    """Check a `.net` file, as `netspec check` does; its mistakes are returned, not raised.

    Args:
        path: the file, or the name of a net that comes with netspec.
        net: which net, if the file has several; by default all.
        asserts: conditions that each net must meet, such as `"params <= 100_000"`, over the facts that
            `check --assert` knows.
        forbid: layers that it may not have, such as `"batch_norm"`, `"buffer"` or `"constant"`.
        require: layers that it must have, and that its outputs depend on, such as `"conv"`.
        inputs: the shapes that its inputs must have, such as `"1,8,8"`; a letter is any size.
        outputs: those of its outputs.
        arguments: values for the net's arguments, as for `netspec.load`.

    Raises:
        NetspecError: for an argument that is no constant of the language; `require/...` for a
            requirement that is none.
    """
    request = Request(path=find_net(path), net=net, arguments=constants(arguments))
    shapes = [
        None if each is None else tuple(sizes(text, option) for text in each)
        for each, option in ((inputs, "inputs"), (outputs, "outputs"))
    ]
    required = Requirements(
        tuple(asserts), named_ops(forbid, FORBID_NAME), named_ops(require, REQUIRE_NAME), *shapes
    )
    result = compile_request(request)
    if required and result.module is not None:
        result = with_unmet(result, result.module, required)
    return CheckReport(result.diagnostics)
