"""Where the files in a tar archive lie. Nothing is unpacked, and nothing but plain files is accepted.

Source: POSIX.1-2017, pax, ustar interchange format; GNU tar's long names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from netspec.files.unsound import UnsoundFileError

_BLOCK = 512
# An archive of pictures needs no longer names, and not more files.
_MOST_EXTENDED, _MOST_NAME, MAX_MEMBERS = 1 << 16, 1 << 10, 1 << 22
_PLAIN, _FOLDER = (b"0", b"\0", b"7"), b"5"
_KINDS = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a FIFO",
    b"S": "a sparse file", b"K": "a long link",
}  # fmt: skip


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        name: Its path in it, relative and without `..`.
        start: Where its content begins.
        size: The number of bytes.
    """

    name: str
    start: int
    size: int


def tar_members(file: BinaryIO, length: int) -> Iterator[Member]:
    """Yield the files in an archive; only its headers are read.

    Args:
        file: the archive.
        length: its size in bytes.

    Raises:
        UnsoundFileError: for what is no sound archive, and for one with links, devices, and names that
            lead out of a folder.
    """
    at, count = 0, 0
    longer: dict[str, bytes] = {}
    while at + _BLOCK <= length:
        file.seek(at)
        header = file.read(_BLOCK)
        if header.count(0) == _BLOCK:  # the end; what follows is padding
            return
        _check_sum(header, at)
        size = _number(longer.pop("size", b"") or header[124:136])
        start, kind = at + _BLOCK, header[156:157]
        if start + size > length:
            raise UnsoundFileError(f"it ends in the middle of a file, at byte {length:,}")
        at = start + -(-size // _BLOCK) * _BLOCK
        if kind in (b"x", b"g", b"L"):
            if size > _MOST_EXTENDED:
                raise UnsoundFileError(f"a name of {size:,} bytes")
            longer.update(_extended(kind, file.read(size)))
            continue
        name = _name(longer.pop("path", b"") or _own_name(header))
        longer.clear()
        if kind in _KINDS:
            raise UnsoundFileError(f"`{name}` is {_KINDS[kind]}; only plain files are read")
        if kind not in (*_PLAIN, _FOLDER):
            raise UnsoundFileError(f"`{name}` is of the unknown kind {kind!r}")
        count += 1
        if count > MAX_MEMBERS:
            raise UnsoundFileError(f"more than {MAX_MEMBERS:,} files")
        if kind != _FOLDER:
            yield Member(name, start, size)
    raise UnsoundFileError("it ends without the block of zeros that ends an archive")


def _check_sum(header: bytes, at: int) -> None:
    found = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if found != _number(header[148:156]):
        raise UnsoundFileError(f"no header of a file at byte {at:,}")


def _number(text: bytes) -> int:
    """Return a number of a header: in octal digits, in GNU's binary form, or in decimal ones of pax."""
    if text[:1] == b"\x80":
        return int.from_bytes(text[1:], "big")
    digits = text.strip(b" \0")
    if not digits or not digits.isdigit():
        if not digits:
            return 0
        raise UnsoundFileError("a number in a header is none")
    try:
        return int(digits, 8)
    except ValueError:
        raise UnsoundFileError("a number in a header is none") from None


def _extended(kind: bytes, content: bytes) -> dict[str, bytes]:
    """Return the name and the size, in octal digits, that an extended header gives to the next file."""
    if kind == b"L":
        return {"path": content.rstrip(b"\0")}
    found: dict[str, bytes] = {}
    while content:
        digits, _, _ = content.partition(b" ")
        if not digits.isdigit() or not len(digits) < int(digits) <= len(content):
            raise UnsoundFileError("a damaged extended header")
        record, content = content[len(digits) + 1 : int(digits)], content[int(digits) :]
        key, _, value = record.rstrip(b"\n").partition(b"=")
        if key == b"path":
            found["path"] = value
        elif key == b"size" and value.isdigit() and len(value) < 20:
            found["size"] = b"%o" % int(value)
    return found


def _own_name(header: bytes) -> bytes:
    name, prefix = (part.split(b"\0", 1)[0] for part in (header[:100], header[345:500]))
    is_posix = header[257:262] == b"ustar"
    return prefix + b"/" + name if prefix and is_posix else name


def _name(raw: bytes) -> str:
    if len(raw) > _MOST_NAME:
        raise UnsoundFileError(f"a name of {len(raw):,} bytes")
    name = raw.decode("utf-8", "replace").removeprefix("./")
    if name.startswith("/") or ".." in name.split("/") or "\\" in name:
        raise UnsoundFileError(f"the name `{name[:200]}` leads out of a folder")
    return name
