"""The nets that come with netspec, by name: `lenet`, `zoo/resnet18`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from netspec.diagnostics import suggest

SUFFIX = ".net"
_PACKAGE = Path(__file__).parents[2]
# An installed package contains the nets; in a checkout of the repository they are beside the
# package.
_FOLDERS = (_PACKAGE / "networks", _PACKAGE.parent / "networks")
_LOOKED_AT = 1000


def shipped_nets() -> dict[str, Path]:
    """Return the paths of the nets by name, in order."""
    for folder in _FOLDERS:
        if (folder / "lenet.net").is_file():
            found = sorted(folder.rglob(f"*{SUFFIX}"), key=lambda path: (len(path.parts), path))
            return {path.relative_to(folder).with_suffix("").as_posix(): path for path in found}
    return {}


def find_net(given: str | Path) -> Path:
    """Return the path of the file that a user means.

    An existing file comes first: the path as given, then with `.net` behind it.

    Otherwise it may be the name of a net that comes with netspec. A path that leads nowhere is
    returned as given, because reading it reports the error.
    """
    path = Path(given)
    if path.suffix or _is_there(path):
        return path
    written_out = path.with_name(f"{path.name}{SUFFIX}") if path.name else path
    if _is_there(written_out):
        return written_out
    return shipped_nets().get(path.as_posix(), path)


def did_you_mean(path: Path) -> str | None:
    """Return advice for a `.net` file that does not exist, or None."""
    if path.suffix not in ("", SUFFIX):
        return None
    name = path.with_suffix("").as_posix().removeprefix("networks/")
    beside = suggest(path.with_suffix(SUFFIX).name, _nets_in(path.parent))
    meant = meant_by(name)
    if path.suffix and meant is not None and not _is_called(meant, name):
        meant = None  # a file of one's own that is not there, such as `net.net`
    if meant is not None and (beside is None or meant.rpartition("/")[2] == name):
        return f"did you mean `{meant}`, which comes with netspec?"
    if beside is not None:
        return f"did you mean `{path.with_name(beside)}`?"
    return (
        None
        if path.suffix
        else ("`netspec new` lists the nets that come with netspec, and `netspec runs` your runs")
    )


def meant_by(name: str) -> str | None:
    """Return the name of the net that comes with netspec and has this name or a similar one, or
    None.

    The folder in the name may be left out.
    """
    nets = shipped_nets()
    if name in nets:
        return name
    by_last_part = {known.rpartition("/")[2]: known for known in nets}
    last_part = name if name in by_last_part else suggest(name, by_last_part)
    return suggest(name, nets) if last_part is None else by_last_part[last_part]


def _is_called(known: str, name: str) -> bool:
    """Whether a name is that of a net that comes with netspec, with or without its folder."""
    return name in (known, known.rpartition("/")[2])


def _nets_in(folder: Path) -> list[str]:
    try:
        found = [path.name for path in islice(folder.iterdir(), _LOOKED_AT)]
    except OSError:
        return []
    return [name for name in found if name.endswith(SUFFIX)]


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # no permission, or not a path: reading it reports that
        return True
