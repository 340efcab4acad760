"""Files as they are in a commit of a Git repository, such as `HEAD~1:networks/lenet.net`.

The files are copied into a temporary folder, and the compiler reads them there like any others, so
a net finds its imports as they were at that commit. Git is only asked for objects, so no filter,
hook or pager from the repository's configuration runs.
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
_REGULAR = ("100644", "100755")  # no symbolic links and no submodules


def is_revision(name: str) -> bool:
    """Return True if an argument is of the form `REV:PATH` and is not the name of a file on disk."""
    return ":" in name and not Path(name).exists()


@contextmanager
def checked_out(name: str) -> Iterator[Path]:
    """Copy the file or folder that `REV:PATH` names into a folder that is deleted at the end.

    Args:
        name: a revision as Git writes it, a colon, and a path relative to the current folder.

    Yields:
        The path of the copy. Beside a copied file, all `.net` files below its folder are copied
        too, for its imports.

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
    """Return the `.net` files at or below a path of a commit, with the hashes of their contents."""
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
    """Return the contents of objects, in the given order."""
    answer = _git(name, "cat-file", "--batch", given="\n".join([*objects, ""]).encode())
    at = 0
    for _ in objects:
        head = answer.index(b"\n", at)
        size = int(answer[at:head].split()[2])
        yield answer[head + 1 : head + 1 + size]
        at = head + 1 + size + 1


def _git(name: str, *arguments: str, given: bytes = b"") -> bytes:
    import subprocess  # slow to import, and needed only for revisions

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
