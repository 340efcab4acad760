"""Checks the parts of a PNG or JPEG file before it is decoded, because a decoder spends time on each.

Sources: W3C, PNG specification, 3rd edition, section 5; ITU-T T.81 (JPEG), annex B.
"""

from __future__ import annotations

import re

from netspec.files.unsound import UnsoundFileError

# A limit on the number of parts: a picture of 50 million pixels has 20,000 chunks of 8 KiB, and the
# color profile of a JPEG file may take 255.
MAX_PARTS = 1 << 16
# A progressive JPEG has about ten scans over the whole picture. This limits the pixels over all
# scans.
MAX_SCANNED = 1 << 30
_PNG = b"\x89PNG\r\n\x1a\n"
_SCAN, _STANDALONE = 0xDA, (0x01, *range(0xD0, 0xD8))
# This pair of bytes does not occur within the data of a scan.
_SCANS = re.compile(bytes([0xFF, _SCAN]))


def check_parts(content: bytes) -> None:
    """Refuse a file with more parts than any real picture has.

    Raises:
        UnsoundFileError: See above.
    """
    parts = profiles = 0
    if content.startswith(_PNG):
        at = len(_PNG)
        while at < len(content) and parts <= MAX_PARTS:
            length = int.from_bytes(content[at : at + 4], "big")
            # Each profile is unpacked, one after the other.
            profiles += content[at + 4 : at + 8] == b"iCCP"
            at += 12 + length
            parts += 1
    elif content.startswith(b"\xff\xd8"):
        at = 2
        while at + 1 < len(content) and parts <= MAX_PARTS:
            marker = content[at + 1]
            if content[at] != 0xFF or marker == _SCAN:
                break
            length = 0 if marker in _STANDALONE else int.from_bytes(content[at + 2 : at + 4], "big")
            at += 1 if marker == 0xFF else 2 + length
            parts += 1
    if parts > MAX_PARTS or profiles > 1:
        raise UnsoundFileError("it consists of more segments than any real picture")


def check_scans(content: bytes, pixels: int) -> None:
    """Refuse a JPEG file that scans its pixels excessively often.

    Raises:
        UnsoundFileError: See above.
    """
    if not content.startswith(b"\xff\xd8"):
        return
    # Found in a third of the time of `bytes.count`, to which each byte 0xFF is a beginning.
    scans = sum(1 for _ in _SCANS.finditer(content))
    if scans * pixels > MAX_SCANNED:
        raise UnsoundFileError(f"it goes over its {pixels:,} pixels {scans:,} times")
