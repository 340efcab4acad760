"""`python -m website FOLDER`: builds the site in `FOLDER/site`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from website.cannot_build import CannotBuildError
from website.digits import build as digits
from website.playground import build as playground
from website.stage import ROOT, stage

# Pages that are programs: what builds them, and the folder that keeps what the next time needs.
_PROGRAMS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "playground": (playground.build, "npm"),
    "digits": (digits.build, "trained"),
}


def main(folder: Path) -> int:
    """Stage and build the site; what the folder had of an earlier one is replaced.

    A page that cannot be built here is left out, with a word.
    """
    for old in ("docs", "site", "zensical.toml", ".cache", *_PROGRAMS):
        path = folder / old
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
    programs = {}
    for name, (build, kept) in _PROGRAMS.items():
        try:
            build(folder / name, folder / kept)
            programs[name] = folder / name
        except CannotBuildError as error:
            print(f"the site has no page {name}: {error}", file=sys.stderr)
    stage(folder, programs)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(command, cwd=folder, check=False, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/site")))
