"""Addresses of the playground with a text in them, as the page itself makes them."""

from __future__ import annotations

import base64
import zlib

from website.links import between


def opened(text: str, page: str) -> str:
    """Return a line of Markdown that opens a text in the playground.

    Args:
        text: the text.
        page: the page that the line is on, as a path below the root of the site.
    """
    return f"[Open it in the playground]({between(page, 'playground/index.html')}{fragment(text)})"


def fragment(text: str) -> str:
    """Return the part of an address that holds a text: it is compressed, in base64 for addresses."""
    packing = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packing.compress(text.encode()) + packing.flush()
    return f"#text={base64.urlsafe_b64encode(packed).decode().rstrip('=')}"
