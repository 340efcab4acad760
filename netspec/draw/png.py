"""A picture as PNG: its SVG, rendered by resvg with the font that Matplotlib brings."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.diagnostics import NetspecError

_ZOOM = 2.0
_MOST_PIXELS = 60_000_000
_HEADER = 33  # of a PNG file: its signature and the chunk IHDR


def as_png(svg: str, width: float, height: float) -> bytes:
    """Return a picture of this size as PNG, at twice the size if that is not too large.

    Raises:
        NetspecError: `library/resvg` if resvg-py or Matplotlib is not installed.
    """
    resvg, fonts = _renderer()
    zoom = min(_ZOOM, (_MOST_PIXELS / max(1.0, width * height)) ** 0.5)
    names = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
    made = resvg.svg_to_bytes(
        svg_string=svg, zoom=zoom, skip_system_fonts=True,
        font_files=[str(fonts / name) for name in names],
    )  # fmt: skip
    return _marked(bytes(made))


def _renderer() -> tuple[Any, Path]:
    try:
        import matplotlib
        import resvg_py
    except ImportError as error:
        message = (
            f"PNG is drawn with resvg-py and Matplotlib's font, and {error.name} is not installed"
        )
        raise NetspecError.simple(
            codes.LIBRARY_RESVG, message, "pip install 'netspec-dsl[plot]', or name a .svg file"
        ) from None
    return resvg_py, Path(matplotlib.get_data_path()) / "fonts/ttf"


def _marked(png: bytes) -> bytes:
    """Say in the file that netspec made it, so that it may be overwritten."""
    body = b"tEXtSoftware\0netspec"
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:_HEADER] + chunk + png[_HEADER:]
