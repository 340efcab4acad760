"""Names of shards, such as `train-{000000..000146}.tar`, and those on the web, which are downloaded."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.files import cache_root

SUFFIX = ".tar"
# A name means at most so many shards, and one on the web is at most so large.
MAX_SHARDS, MAX_SHARD_BYTES = 100_000, 1 << 34
_RANGE = re.compile(r"\{(\d{1,18})\.\.(\d{1,18})\}")
_TIMEOUT_SECONDS = 30
_AT_A_TIME = 1 << 20


def is_shards(name: str) -> bool:
    """Return True if a name of data is that of shards."""
    return name.endswith(SUFFIX)


def is_web(name: str) -> bool:
    """Return True if a name is an address on the web."""
    return name.startswith(("http://", "https://"))


def expanded(name: str) -> list[str]:
    """Return the names that a name with a range of numbers in braces stands for; itself without.

    Raises:
        NetspecError: `data/bad-file` for a range that is empty or too long.
    """
    found = _RANGE.search(name)
    if found is None:
        return [name]
    first, last = int(found[1]), int(found[2])
    if not 0 <= last - first < MAX_SHARDS:
        raise NetspecError.simple(
            codes.DATA_BAD_FILE,
            f"{name}: {{{found[1]}..{found[2]}}} stands for {max(0, last - first + 1):,} shards; there"
            f" may be from one to {MAX_SHARDS:,}",
        )
    before, after = name[: found.start()], name[found.end() :]
    width = len(found[1])
    if _RANGE.search(after):
        raise NetspecError.simple(codes.DATA_BAD_FILE, f"{name}: one range of numbers is read")
    return [f"{before}{number:0{width}}{after}" for number in range(first, last + 1)]


def local_shard(name: str) -> Path:
    """Return the file of a shard; one on the web is downloaded into the user's cache, once.

    Raises:
        NetspecError: `data/missing-file` if it is not there or cannot be downloaded.
    """
    if not is_web(name):
        path = Path(name).expanduser().absolute()
        if not path.is_file():
            raise NetspecError.simple(codes.DATA_MISSING_FILE, f"no such file: {path}")
        return path
    place = hashlib.sha256(name.encode()).hexdigest()[:32]
    path = cache_root() / "shards" / f"{place}{SUFFIX}"
    if not path.is_file():
        _download(name, path)
    return path


def _download(address: str, path: Path) -> None:
    """Download a file, which appears under its name when it is complete."""
    import requests

    part: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with (
            os.fdopen(handle, "wb") as file,
            requests.get(address, stream=True, timeout=_TIMEOUT_SECONDS) as answer,
        ):
            answer.raise_for_status()
            size = 0
            for block in answer.iter_content(_AT_A_TIME):
                size += file.write(block)
                if size > MAX_SHARD_BYTES:
                    raise OSError(f"it is larger than {MAX_SHARD_BYTES >> 30} GiB")
            wanted = answer.headers.get("Content-Length", "")
            encoded = answer.headers.get("Content-Encoding")
            if wanted.isdigit() and not encoded and size != int(wanted):
                raise OSError(f"{size:,} of {int(wanted):,} bytes came")
        os.replace(part, path)
        part = None
    except OSError as error:  # requests' errors are subclasses
        host = urlsplit(address).hostname or address
        offline = isinstance(error, requests.ConnectionError | requests.Timeout)
        reason = f"no connection to {host}" if offline else (str(error).splitlines() or [""])[0]
        raise NetspecError.simple(
            codes.DATA_MISSING_FILE, f"{address} could not be downloaded: {reason[:200]}"
        ) from None
    finally:
        if part is not None:
            Path(part).unlink(missing_ok=True)
