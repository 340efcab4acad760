"""Where the recipe of a net is. `compile` asks for it, and needs nothing else of recipes."""

from __future__ import annotations

from pathlib import Path

# The name of a run's recipe in its folder.
RECIPE = "recipe.toml"


def recipe_of(path: Path) -> Path | None:
    """Return the recipe of a `.net` file.

    It is beside the file, with the same name and `.toml`; for a run, in the folder of the run. Returns
    None if there is none.
    """
    if (path / RECIPE).is_file():
        return path / RECIPE
    if path.suffix != ".net":
        return None
    beside = path.with_suffix(".toml")
    return beside if beside.is_file() else None
