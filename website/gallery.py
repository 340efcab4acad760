"""A page for each net that comes with netspec: its picture, its layers and its file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import netspec

_NETS = Path(__file__).resolve().parent.parent / "networks"


def gallery_pages(*, has_playground: bool = False) -> dict[str, str | bytes]:
    """Return a page for each net that comes with netspec, and the list of them.

    Where there is a playground, each page leads to the net in it.
    """
    pages: dict[str, str | bytes] = {}
    rows = ["# Nets", "", "| net | layers | parameters | what it is |", "|---|--:|--:|---|"]
    for path in sorted(_NETS.rglob("*.net")):
        name = path.relative_to(_NETS).with_suffix("").as_posix()
        try:
            net = netspec.load(path)
        except netspec.NetspecError:
            continue  # a file of blocks alone
        page = f"nets/{name.replace('/', '-')}"
        pages[f"{page}.svg"] = net.draw().svg()
        text = path.read_text("utf-8")
        shown = "\n".join(_lines(name, net, text, page))
        if has_playground:
            shown += f"[Open it in the playground](../playground/index.html#net={name})\n"
        pages[f"{page}.md"] = shown
        summary = net.summary()
        rows.append(
            f"| [{net.name}]({page.removeprefix('nets/')}.md) | {len(summary.layers):,}"
            f" | {summary.parameters:,} | {_about(text).partition(chr(10))[0]} |"
        )
    pages["nets/index.md"] = "\n".join(rows) + "\n"
    return pages


def _lines(name: str, net: netspec.Net, text: str, page: str) -> Iterator[str]:
    summary = net.summary()
    yield f"# {net.name}\n"
    yield f"{_about(text)}\n"
    yield f"{len(summary.layers):,} layers, {summary.parameters:,} parameters.\n"
    yield f"```console\n$ netspec summarize {name}\n$ netspec draw {name} -o net.html\n```\n"
    picture = f"{page.removeprefix('nets/')}.svg"
    yield f"[![{net.name}]({picture})]({picture})\n"
    yield f"```netspec\n{text}```\n"


def _about(text: str) -> str:
    """Return the comment that a file begins with."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(lines)
