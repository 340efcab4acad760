"""`netspec draw FILE`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from netspec import codes
from netspec.cli import FAILED, OK
from netspec.cli.common import (
    add_net_file,
    add_net_options,
    emit_text,
    named_request,
    natural,
    report,
    tell,
    write_bytes,
)
from netspec.cli.output_place import add_force_option, check_output
from netspec.diagnostics import NetspecError

if TYPE_CHECKING:
    from netspec.compiler.driver import Compilation
    from netspec.compiler.elaborate.sketch import Sketch


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    from netspec.draw.drawing import FORMS

    add_net_file(parser)
    add_net_options(parser)
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path,
        help=f"the picture, a name that ends in {', '.join(FORMS)}; without it SVG goes to stdout",
    )  # fmt: skip
    parser.add_argument(
        "--depth", type=natural, metavar="N",
        help="open blocks N deep; 0 leaves all closed (default: as deep as there are not too many boxes)",
    )  # fmt: skip
    add_force_option(parser)


def run(options: argparse.Namespace) -> int:
    """Draw the chosen net; of a net with errors what is known of it, and the errors are reported."""
    from netspec.compiler.driver import compile_request
    from netspec.compiler.passes.layer_limit import require_few_layers
    from netspec.draw.drawing import Drawing, require_form

    if options.output is not None:
        require_form(options.output)
    request = named_request(options)
    result = compile_request(request)
    try:
        sketch = _sketch(result, request.net)
    except NetspecError as error:  # which often has the errors of the file
        report([d for d in result.diagnostics if d not in error.diagnostics], options)
        raise
    report(result.diagnostics, options)
    require_few_layers(sketch.graph)
    drawing = Drawing(sketch, options.depth)
    if options.output is None:
        emit_text(drawing.svg())
        if sys.stdout.isatty():  # nobody reads a picture as text
            tell("this is SVG: `-o net.svg`, or a name that ends in .png or .pdf, writes a file")
    else:
        assert result.module is not None
        sources = [Path(source.name) for source in result.module.sources()]
        check_output(options.output, sources, force=options.force)
        write_bytes(options.output, drawing.encoded(options.output))
    return FAILED if result.errors else OK


def _sketch(result: Compilation, name: str | None) -> Sketch:
    """Return the net that was asked for, or the only one.

    Raises:
        NetspecError: if nothing is known of it, or if it is not clear which one is meant.
    """
    from netspec.compiler.driver import select

    if name is None and len(result.sketches) == 1:
        (name,) = result.sketches
    if name in result.sketches:
        return result.sketches[name]
    if result.sketches and result.errors:
        message = f"the file has several nets: {', '.join(result.sketches)}"
        raise NetspecError.simple(codes.FILE_SEVERAL_NETS, message, "name one with --net")
    graph = select(result, name)
    return result.sketches[graph.name]
