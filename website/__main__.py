"""`python -m website FOLDER`: builds the site in `FOLDER/site`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from website.playground.build import CannotBuildError, build
from website.stage import ROOT, stage


def main(folder: Path) -> int:
    """Stage and build the site; what the folder had of an earlier one is replaced.

    Where the playground cannot be built, the site has none.
    """
    for old in ("docs", "site", "zensical.toml", ".cache", "playground"):
        path = folder / old
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
    playground: Path | None = folder / "playground"
    try:
        build(folder / "playground", folder / "npm")
    except CannotBuildError as error:
        print(f"the site has no playground: {error}", file=sys.stderr)
        playground = None
    stage(folder, playground)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(command, cwd=folder, check=False, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/site")))
