"""What a C file that saves and loads safetensors knows of its arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from netspec.compiler.c_backend.c_text import literal
from netspec.compiler.c_backend.memory import Place
from netspec.compiler.ir.graph import Graph, Parameter

# Bytes of the header on a line of the file.
LINE = 80


def tensors_parts(
    graph: Graph, order: Sequence[Parameter], places: Mapping[str, Place], *, double: bool
) -> dict[str, str]:
    """Return what the template `safetensors` needs: see there.

    Args:
        graph: the net.
        order: its parameters in the order of the C file, without counts of batches.
        places: where they are.
        double: whether numbers are in double precision.
    """
    saved = [p for p in order if p.is_saved]
    counters = [p for p in graph.parameters.values() if p.role == "counter"]
    header = _header(saved, counters, "F64" if double else "F32", 8 if double else 4)
    pieces = [header[at : at + LINE] for at in range(0, len(header), LINE)]
    lines = [
        f"    {{{literal(_in_json(p.name))}, {literal(','.join(map(str, p.shape)))},"
        f" {places[p.name].name}, {p.size}}}"
        for p in saved
    ]
    return {
        "COUNT": str(len(saved)),
        "LONGEST": str(2 + max(len(_in_json(p.name).encode()) for p in saved)),
        "COUNTED": str(8 * len(counters)),
        "TENSORS": ",\n".join(lines),
        "LENGTH": str(len(header.encode())),
        "HEADER": ",\n".join(f"    {literal(piece)}" for piece in pieces),
    }


def _in_json(name: str) -> str:
    """Return what stands between the quotes of a name."""
    return json.dumps(name, ensure_ascii=False)[1:-1]


def _header(
    saved: Sequence[Parameter], counters: Sequence[Parameter], kind: str, width: int
) -> str:
    """Return the header of a safetensors file with these arrays, one behind the other."""
    about: dict[str, object] = {}
    at = 0
    for p in (*saved, *counters):
        counts = p.role == "counter"
        end = at + p.size * (8 if counts else width)
        about[p.name] = {
            "dtype": "I64" if counts else kind,
            "shape": list(p.shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(about, separators=(",", ":"), ensure_ascii=False)
    return text + " " * (-len(text.encode()) % 8)
