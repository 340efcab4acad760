"""The settings of a recipe that is given from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from netspec.diagnostics import suggest
from netspec.runtime.data.choices import require
from netspec.runtime.runs.option_types import problem
from netspec.runtime.runs.options import OPTIONS
from netspec.runtime.runs.recipe import read_recipe
from netspec.runtime.runs.resolve import Settings, resolve

GivenRecipe = str | os.PathLike[str] | Mapping[str, object] | None


def settings_of(recipe: GivenRecipe) -> Settings:
    """Return the settings of a recipe, with the defaults of what it leaves out.

    Args:
        recipe: The path of a TOML file, or its options by their names; None for the defaults alone.

    Raises:
        NetspecError: `recipe/...` for a file, `train/bad-option` for anything wrong with the options.
    """
    if recipe is None:
        return resolve({})
    if not isinstance(recipe, Mapping):
        return resolve({}, read_recipe(Path(recipe)))
    return resolve({str(name): _checked(str(name), value) for name, value in recipe.items()})


def _checked(name: str, value: object) -> object:
    meant = suggest(name.replace("_", "-"), OPTIONS)
    require(
        name in OPTIONS,
        f"there is no training option {name!r}",
        f"did you mean {meant!r}?" if meant else None,
    )
    value = list(value) if isinstance(value, tuple) else value
    wrong = problem(OPTIONS[name].kind, value)
    require(wrong is None, f"{name} must be {OPTIONS[name].kind.describe()}, not {value!r}")
    return value
