"""The files of a data set: where they are looked for, and how they are downloaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from netspec import codes
from netspec.diagnostics import Diagnostic, Hint, NetspecError
from netspec.files.cache_folder import cache_folder
from netspec.files.regular_file import read_regular
from netspec.text.printable import printable_lines

CACHE_VARIABLE = "NETSPEC_DATA_DIR"
_TIMEOUT_SECONDS = 30
# How many folders below the one that the user named are looked into.
_MOST_FOLDERS = 100


class DownloadError(Exception):
    """A file could not be downloaded from any address; the message gives each reason in a line."""


def cache_root() -> Path:
    """The folder for downloads: `NETSPEC_DATA_DIR`, or netspec's folder in the user's cache."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    return cache_folder()


def find_or_download(
    title: str,
    names: Sequence[str],
    *,
    folders: Sequence[str],
    data_dir: Path | None,
    fetch: Callable[[Path], None],
    suffixes: Sequence[str] = ("",),
) -> list[Path]:
    """Return the paths of a data set's files, all from one folder; downloads them if needed.

    Args:
        title: The data set's name in messages.
        names: The files wanted.
        folders: Folders below a root that may contain them, the usual one first.
        data_dir: The root that the user named; searched before the cache, with what lies around it.
            If it holds nothing, a line on stderr says so before anything is downloaded.
        fetch: Downloads the files into the folder it is given, or raises `DownloadError`.
        suffixes: Endings that may be added to a file's name, in order of preference.

    Raises:
        NetspecError: `data/missing-file`, naming every file and folder looked for and why the
            download failed; or if `data_dir` is not a folder.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise NetspecError.simple(
            codes.DATA_MISSING_FILE, f"the data folder {data_dir} does not exist or is not a folder"
        )
    given = [] if data_dir is None else [data_dir / folder for folder in folders]
    around = [] if data_dir is None else _around(data_dir, title, folders)
    searched = [*given, *around]
    for folder in searched:
        if found := _all_in(folder, names, suffixes):
            return found
    if data_dir is not None:
        _tell(
            f"note: {data_dir} does not hold the files of {title}: looked for {names[0]} and the others"
            f" in {', '.join(map(str, given))}"
        )
    searched = [*given, *(cache_root() / folder for folder in folders)]
    for folder in searched[len(given) :]:
        if found := _all_in(folder, names, suffixes):
            return found
    target = cache_root() / folders[0]
    try:
        fetch(target)
        if found := _all_in(target, names, suffixes):
            return found
        reason = f"the download did not provide all files in {target}"
    except DownloadError as error:
        reason = str(error)
    endings = " or ".join(f"*{suffix}" for suffix in suffixes if suffix)
    notes = [
        "looked for " + ", ".join(names) + (f" (or {endings})" if endings else ""),
        *(f"looked in {folder}" for folder in searched),
        *(f"download failed: {line}" for line in reason.splitlines()),
    ]
    help = (
        f"put the files into one of these folders and name it with --data-dir, or set "
        f"{CACHE_VARIABLE}; `--data digits` needs no files"
    )
    message = f"the files of {title} were not found and could not be downloaded"
    raise NetspecError(
        [Diagnostic(codes.DATA_MISSING_FILE, message, notes=tuple(notes), hints=(Hint(help),))]
    )


def _around(data_dir: Path, title: str, folders: Sequence[str]) -> list[Path]:
    """Return folders near the one that the user named, where files may lie, too.

    These are `raw` in a folder of the data set's own name, `MNIST`, and the usual places one folder
    further down and further up. Another data set's folder is not entered: its files may have the same
    names.
    """
    root = data_dir.resolve()
    usual = [folder for folder in folders if folder != "."]
    found = []
    for folder in folders:
        first, _, rest = folder.partition("/")
        if rest and root.name.lower() in (first.lower(), title.lower()):
            found.append(data_dir / rest)
    found += [root.parent / folder for folder in usual]
    try:
        below = sorted(each for each in data_dir.iterdir() if each.is_dir())[:_MOST_FOLDERS]
    except OSError:
        below = []
    return found + [each / folder for each in below for folder in usual]


def _tell(text: str) -> None:
    if sys.stderr is not None:  # a program without a console has no stderr
        print(printable_lines(text), file=sys.stderr, flush=True)


def download(name: str, sha256: str, urls: Sequence[str], folder: Path) -> Path:
    """Download a file into `folder`, from the first of `urls` that delivers it completely.

    The file appears under its name only after its checksum was verified (pooch).

    Raises:
        DownloadError: If none does.
    """
    import pooch
    import requests  # pooch uses it for downloads

    reasons = []
    for url in urls:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = pooch.retrieve(
                url,
                known_hash=f"sha256:{sha256}",
                fname=name,
                path=folder,
                downloader=pooch.HTTPDownloader(timeout=_TIMEOUT_SECONDS),
            )
            return Path(path)
        except (OSError, ValueError) as error:  # requests' errors are subclasses of OSError
            offline = isinstance(error, requests.ConnectionError | requests.Timeout)
            reasons.append(f"{url}: {'no connection' if offline else _first_line(error)}")
    raise DownloadError("\n".join(reasons))


def read_error(path: str | Path, reason: str) -> NetspecError:
    """Return the error for a file that exists but cannot be used."""
    return NetspecError.simple(codes.DATA_BAD_FILE, f"{path}: {reason}")


def _all_in(folder: Path, names: Sequence[str], suffixes: Sequence[str]) -> list[Path] | None:
    found = []
    for name in names:
        candidates = (folder / (name + suffix) for suffix in suffixes)
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            return None
        found.append(path)
    return found


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 200 else text[:200] + "..."


def read_text(path: Path, most: int, *, any_bytes: bool = False) -> str:
    """Read a text in UTF-8.

    Args:
        path: The file.
        most: The largest size in bytes.
        any_bytes: Whether bytes that are no UTF-8 are read as Python's `surrogateescape` does, from
            which they are had back.

    Raises:
        NetspecError: `data/bad-file` if it is no text, too large, or cannot be read.
    """
    try:
        return read_regular(path, most).decode(
            "utf-8", "surrogateescape" if any_bytes else "strict"
        )
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 text: byte {error.start:,} is no part of a character"
        raise read_error(path, reason) from None
    except OSError as error:
        raise read_error(path, f"cannot be read: {error.strerror or error}") from None
