"""Arguments of a net that stand under `[set]` in the recipe beside it. A training takes them, and a verb
that takes the net alone does not.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from netspec.cli.common import arguments_of, tell
from netspec.cli.named_run import named_run, setting_text
from netspec.compiler.parse import decode_source, read_file
from netspec.diagnostics import NetspecError

# The table of arguments, as TOML may have it.
_SET = re.compile(r"""^\s*(\[\s*)?["']?set["']?\s*[].=]""", re.MULTILINE)


def say_recipe_arguments(options: argparse.Namespace) -> None:
    """Note on stderr which of a recipe's arguments the net that the options name is without."""
    found = recipe_arguments(options)
    if found is not None:
        path, settings = found
        tell(f"note: {path} trains the net with {settings}, and this is the net without")


def recipe_arguments(options: argparse.Namespace) -> tuple[Path, str] | None:
    """Return the recipe beside the net, and its arguments that `--set` does not give, as it takes them.

    None if there are none, for a run, which has its own, and for a recipe with a mistake.
    """
    from netspec.runtime.runs.recipe_place import recipe_of

    path = recipe_of(Path(options.file))
    if path is None or named_run(options.file) is not None:
        return None
    given = arguments_of(options)
    try:
        if not _SET.search(decode_source(read_file(path, str(path)), str(path)).text):
            return None  # and nothing is imported, such as NumPy
        from netspec.runtime.runs.recipe import read_recipe

        arguments = read_recipe(path).arguments
    except NetspecError:
        return None
    unsaid = {name: value for name, value in arguments.items() if name not in given}
    settings = " ".join(f"--set {name}={setting_text(value)}" for name, value in unsaid.items())
    return (path, settings) if unsaid else None
