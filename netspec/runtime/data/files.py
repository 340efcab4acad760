"""Where the files of a data set lie, and how they get there: the places searched, the download."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from netspec import codes
from netspec.diagnostics import Diagnostic, Hint, NetspecError
from netspec.files.cache_folder import cache_folder

CACHE_VARIABLE = "NETSPEC_DATA_DIR"
_TIMEOUT_SECONDS = 30


class DownloadError(Exception):
    """No address of a file delivered it; the message says why, one line an address."""


def cache_root() -> Path:
    """The folder downloads go to: `NETSPEC_DATA_DIR`, or the user's cache folder of netspec."""
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
    """The paths of a data set's files, all from one folder.

    Args:
        title: The data set's name in messages.
        names: The files wanted.
        folders: Folders below a root in which they may lie, the usual one first.
        data_dir: The root the user named; searched before the cache.
        fetch: Puts the files into the folder it is given, or raises `DownloadError`.
        suffixes: Endings a file may have besides its name, in the order preferred.

    Raises:
        NetspecError: `data/missing-file`, naming every file looked for, every folder looked in
            and why the download failed; or where `data_dir` is no folder.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise NetspecError.simple(
            codes.DATA_MISSING_FILE, f"the data folder {data_dir} does not exist or is not a folder"
        )
    roots = [root for root in (data_dir, cache_root()) if root is not None]
    searched = [root / folder for root in roots for folder in folders]
    for folder in searched:
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


def download(name: str, sha256: str, urls: Sequence[str], folder: Path) -> Path:
    """Download one file into `folder` from the first of `urls` that delivers it whole.

    The file appears under its name only after its checksum was found right (pooch).

    Raises:
        DownloadError: Where none does.
    """
    import pooch
    import requests  # pooch downloads with it

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
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            offline = isinstance(error, requests.ConnectionError | requests.Timeout)
            reasons.append(f"{url}: {'no connection' if offline else _first_line(error)}")
    raise DownloadError("\n".join(reasons))


def read_error(path: Path, reason: str) -> NetspecError:
    """The error for a file that is there and cannot be used."""
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
