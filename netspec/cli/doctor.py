"""`netspec doctor FILE`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.cli import FAILED, OK
from netspec.cli.common import (
    add_net_file,
    add_net_options,
    arguments_of,
    checked_net,
    emit,
    emit_verdicts,
    natural,
    positive,
    tell,
)
from netspec.cli.data_of_run import data_of_run
from netspec.cli.named_run import named_run, path_of_run, with_data_of_run
from netspec.cli.output_place import add_force_option, check_output, net_sources
from netspec.cli.picture_options import add_normalize_options, add_resize_options
from netspec.diagnostics import NetspecError
from netspec.text.live_line import LiveLine

if TYPE_CHECKING:
    from netspec.runtime.runs.recipe import Recipe

_EPILOG = """\
Sanity checks before a long training: the initial loss is that of equal scores (log C for C classes); L2
increases it; scores are not cut off; every layer gets a gradient; few units are dead; the loss does not
rise with the chosen optimizer and learning rate; the net can overfit a small batch; and the gradients
are the slopes of the loss. How the net will be trained is read from the recipe beside the file
(NAME.toml), if there is one; options override it.

Each line has a verdict: `ok`, `BAD`, or `unsure` if the check is not conclusive. The exit code is 1 if
any is `BAD`.
"""

# Where nothing is drawn, the checks that begin later than this are told.
_QUIET_SECONDS = 5.0

# The training options that this verb accepts as well.
TAKEN = (
    "data", "data-dir", "normalize", "mean", "std", "resize", "resize-shorter", "optimizer", "lr",
    "batch", "l2", "loss", "seed",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    from netspec.runtime.data.catalog import NAMES
    from netspec.runtime.data.input_normalization import KINDS
    from netspec.runtime.optim.losses import LOSSES_OF_CLASSES
    from netspec.runtime.optim.optimizers import OPTIMIZERS

    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_net_file(parser)
    add_net_options(parser)
    data = parser.add_argument_group("data")
    data.add_argument("--data", metavar="NAME",
                      help=f"{', '.join(NAMES)}, an .npz file or a folder, as for `train`"
                      " (default: the recipe's, or digits)")  # fmt: skip
    data.add_argument("--data-dir", type=Path, metavar="DIR", help="the folder to search first")
    add_resize_options(data)
    add_normalize_options(data, KINDS, "(default: the recipe's, or channel)")
    how = parser.add_argument_group("how it is to be trained (default: the recipe's)")
    how.add_argument("--optimizer", choices=tuple(OPTIMIZERS))
    how.add_argument("--lr", type=float, metavar="RATE", help="the learning rate")
    how.add_argument("--batch", type=positive, metavar="N", help="images in a step")
    how.add_argument("--l2", type=float, metavar="R")
    how.add_argument("--loss", choices=tuple(LOSSES_OF_CLASSES))
    how.add_argument("--seed", type=natural, metavar="N", help="of the initial weights")
    how.add_argument("--no-recipe", action="store_true", help="ignore the recipe")
    shown = parser.add_argument_group("what is shown")
    shown.add_argument("--format", choices=("text", "json"), default="text",
                       help="(default text)")  # fmt: skip
    shown.add_argument("--plot", type=Path, metavar="FILE",
                       help="draw gradients, dead units and losses, as PNG or SVG")  # fmt: skip
    add_force_option(shown)


def run(options: argparse.Namespace) -> int:
    """Examine a net and print the findings."""
    from netspec.runtime.data.catalog import load, path_of
    from netspec.runtime.models.classifier_shape import only_input_shape
    from netspec.runtime.runs.resolve import check_arguments, resolve
    from netspec.tools.doctor import examine

    if options.plot is not None:
        # Printed before the checks, which take some time.
        from netspec.runtime.plots.figures import check_picture_path, require_matplotlib

        check_picture_path(options.plot)
        require_matplotlib()
    recipe = _recipe(options)
    settings = with_data_of_run(
        resolve(_given(options), recipe), options.file, _given(options),
        keeps_recipe=not options.no_recipe,
    )  # fmt: skip
    arguments = {**(recipe.arguments if recipe else {}), **arguments_of(options)}
    try:
        net = checked_net(options, arguments)
    except NetspecError as error:
        raise (check_arguments(recipe, error) if recipe else error) from None
    if options.plot is not None:
        sources = [*net_sources(net), *filter(None, [path_of(settings["data"])])]
        check_output(options.plot, sources, force=options.force)
    if recipe is not None:
        tell(f"recipe: {recipe.name}")
    with data_of_run(path_of_run(named_run(options.file)), settings["data"], options.data):
        data = load(
            settings["data"],
            settings["data-dir"],
            only_input_shape(net.graph),
            resize=settings.resize,
            ignore_index=settings["ignore-index"],
            tokens=settings["tokens"],
        )
    with LiveLine(quiet_for=_QUIET_SECONDS) as live:
        found = examine(
            net,
            data,
            optimizer=settings["optimizer"],
            lr=settings["lr"],
            optimizer_options=settings.keywords("optimizer"),
            batch=settings["batch"],
            l2=settings["l2"],
            clip_norm=settings["clip-norm"],
            warms_up=settings["warmup"] > 0,
            loss=settings["loss"],
            normalize=settings.normalize_without_weights,
            seed=settings["seed"],
            dtype=settings["dtype"],
            advance=lambda check: live.show(f"doctor: {check}"),
        )
    if options.plot is not None:
        from netspec.tools.doctor.figure import draw

        draw(found, options.plot)
    if options.format == "json":
        emit(json.dumps(found.to_dict(), indent=2))
    else:
        emit_verdicts(str(found), options)
    return OK if found.ok else FAILED


def _recipe(options: argparse.Namespace) -> Recipe | None:
    from netspec.runtime.runs.recipe import read_recipe
    from netspec.runtime.runs.recipe_place import recipe_of

    path = None if options.no_recipe else recipe_of(options.file)
    return None if path is None else read_recipe(path)


def _given(options: argparse.Namespace) -> dict[str, Any]:
    named = ((name, getattr(options, name.replace("-", "_"))) for name in TAKEN)
    return {name: str(v) if isinstance(v, Path) else v for name, v in named if v is not None}
