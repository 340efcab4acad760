"""`HEAD~1:networks/lenet.net`: files as they are in a commit of a Git repository.

The files are copied into a folder of their own, from which the compiler reads as from any other: a net
finds what it imports as it was then. Git is asked for objects alone, so that no filter, hook or pager of
the repository's own configuration runs.
"""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from netspec import codes
from netspec.compiler.parse import MAX_FILE_BYTES
from netspec.diagnostics import NetspecError

MAX_FILES = 2000
_SECONDS = 60
_REGULAR = ("100644", "100755")  # no links and no submodules


def is_revision(name: str) -> bool:
    """Whether an argument names a file of a commit, `REV:PATH`, and no file on the disk."""
    return ":" in name and not Path(name).exists()


@contextmanager
def checked_out(name: str) -> Iterator[Path]:
    """The file or folder that `REV:PATH` names, in a folder that goes when this ends.

    Args:
        name: a revision as Git names them, a colon, and a path from the current folder.

    Yields:
        The path of the copy. Next to a file lie all `.net` files below its folder, for its imports.

    Raises:
        NetspecError: `file/revision` if Git or the repository does not have it.
    """
    revision, _, path = name.partition(":")
    if not revision or revision.startswith("-") or not name.isprintable():
        raise _wrong(name, "a revision is written `REV:PATH`, such as `HEAD~1:lenet.net`")
    prefix = _git(name, "rev-parse", "--show-prefix").decode().strip()
    inside = posixpath.normpath(posixpath.join(prefix, path.replace(os.sep, "/") or "."))
    if inside.startswith(("..", "/")):
        raise _wrong(name, "the path lies outside the repository")
    tree = _git(name, "rev-parse", "--verify", "--quiet", f"{revision}^{{tree}}").decode().strip()
    found = _entries(name, tree, inside)
    folder = inside if inside not in found else posixpath.dirname(inside) or "."
    if folder != inside:
        found = _entries(name, tree, folder)
    if not found:
        raise _wrong(name, f"{revision} has no {path}")
    with tempfile.TemporaryDirectory(prefix="netspec-") as kept:
        root = Path(kept).resolve()
        for each, content in zip(found, _contents(name, list(found.values())), strict=True):
            target = root / PurePosixPath(each).relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        yield root if folder == inside else root / posixpath.basename(inside)


def _entries(name: str, tree: str, path: str) -> dict[str, str]:
    """The `.net` files at or below a path of a commit, with the names of their contents."""
    where = [] if path == "." else [path]
    listed = _git(name, "ls-tree", "-r", "-z", "-l", "--full-tree", tree, "--", *where)
    found: dict[str, str] = {}
    for entry in listed.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        facts, _, each = entry.partition("\t")
        mode, _, content, size = facts.split()
        inside = path in (each, ".") or each.startswith(f"{path}/")
        if inside and mode in _REGULAR and each.endswith(".net") and int(size) <= MAX_FILE_BYTES:
            found[each] = content
    if len(found) > MAX_FILES:
        raise _wrong(name, f"there are more than {MAX_FILES:,} .net files in that folder")
    return found


def _contents(name: str, objects: list[str]) -> Iterator[bytes]:
    """What the objects hold, in their order."""
    answer = _git(name, "cat-file", "--batch", given="\n".join([*objects, ""]).encode())
    at = 0
    for _ in objects:
        head = answer.index(b"\n", at)
        size = int(answer[at:head].split()[2])
        yield answer[head + 1 : head + 1 + size]
        at = head + 1 + size + 1


def _git(name: str, *arguments: str, given: bytes = b"") -> bytes:
    import subprocess  # slow to load, and needed for revisions alone

    environment = os.environ | {
        "GIT_LITERAL_PATHSPECS": "1", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }  # fmt: skip
    try:
        done = subprocess.run(
            ["git", "--no-pager", *arguments], input=given, capture_output=True, check=False,
            timeout=_SECONDS, env=environment,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise _wrong(name, f"Git cannot be run: {error}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().removeprefix("fatal: ")
        raise _wrong(name, said or f"there is no revision {name.partition(':')[0]}")
    return done.stdout


def _wrong(name: str, why: str) -> NetspecError:
    return NetspecError.simple(codes.FILE_REVISION, f"cannot read {name}: {why}")
