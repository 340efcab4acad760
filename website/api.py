"""The page of the Python interface, whose docstrings mkdocstrings renders."""

from __future__ import annotations

import inspect

import netspec

_GROUPS = {
    "Nets": ("load", "loads", "check", "load_ops", "Net", "CheckReport", "from_torch", "from_onnx"),
    "Models and training": ("Model", "fit", "History", "Evaluation"),
    "Data and weights": (
        "load_data",
        "Dataset",
        "load_weights",
        "save_weights",
        "load_run",
        "TrainedRun",
        "read_picture",
    ),
    "Checks": ("verify", "gradcheck", "doctor"),
    "Errors": ("NetspecError", "Diagnostic"),
}


def api_page() -> str:
    """Return the page: what `netspec.__all__` names, by what it is for."""
    parts = ["# Python", "What `import netspec` gives. Everything else is internal."]
    named = {name for names in _GROUPS.values() for name in names}
    others = [n for n in netspec.__all__ if n not in named and not n.startswith("_")]
    for title, names in {**_GROUPS, "Others": others}.items():
        objects = {name: getattr(netspec, name) for name in names}
        parts.append(f"## {title}")
        for name, found in objects.items():
            if not inspect.ismodule(found):
                parts.append(f"### netspec.{name}\n\n::: {found.__module__}.{found.__qualname__}")
    return "\n\n".join(parts) + "\n"
