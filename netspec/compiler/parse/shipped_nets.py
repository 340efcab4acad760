"""The nets that come with netspec, by name: `lenet`, `zoo/resnet18`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from netspec.diagnostics import suggest

SUFFIX = ".net"
_PACKAGE = Path(__file__).parents[2]
# Installed, the nets lie in the package; in a checkout of the repository beside it.
_FOLDERS = (_PACKAGE / "networks", _PACKAGE.parent / "networks")
_LOOKED_AT = 1000


def shipped_nets() -> dict[str, Path]:
    """The files by name, in order."""
    for folder in _FOLDERS:
        if (folder / "lenet.net").is_file():
            found = sorted(folder.rglob(f"*{SUFFIX}"), key=lambda path: (len(path.parts), path))
            return {path.relative_to(folder).with_suffix("").as_posix(): path for path in found}
    return {}


def find_net(given: str | Path) -> Path:
    """The file that is meant. What is there wins: the path as it is, then with `.net` behind it.

    Else the name may be that of a net that comes with netspec. A path that leads nowhere is given
    back as it is: who reads it says so.
    """
    path = Path(given)
    if path.suffix or _is_there(path):
        return path
    written_out = path.with_name(f"{path.name}{SUFFIX}") if path.name else path
    if _is_there(written_out):
        return written_out
    return shipped_nets().get(path.as_posix(), path)


def did_you_mean(path: Path) -> str | None:
    """Advice to one who named a `.net` file that is not there."""
    if path.suffix not in ("", SUFFIX):
        return None
    name = path.with_suffix("").as_posix().removeprefix("networks/")
    beside = suggest(path.with_suffix(SUFFIX).name, _nets_in(path.parent))
    meant = meant_by(name)
    if meant is not None and (beside is None or meant.rpartition("/")[2] == name):
        return f"did you mean `{meant}`, which comes with netspec?"
    if beside is not None:
        return f"did you mean `{path.with_name(beside)}`?"
    return None if path.suffix else "`netspec new` lists the nets that come with netspec"


def meant_by(name: str) -> str | None:
    """The net that comes with netspec and is called so or nearly so, its folder left out or not."""
    nets = shipped_nets()
    if name in nets:
        return name
    by_last_part = {known.rpartition("/")[2]: known for known in nets}
    last_part = name if name in by_last_part else suggest(name, by_last_part)
    return suggest(name, nets) if last_part is None else by_last_part[last_part]


def _nets_in(folder: Path) -> list[str]:
    try:
        found = [path.name for path in islice(folder.iterdir(), _LOOKED_AT)]
    except OSError:
        return []
    return [name for name in found if name.endswith(SUFFIX)]


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # no permission, or no path at all: who reads it says so
        return True
