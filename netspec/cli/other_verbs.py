"""Verbs of other tools, and what they are here."""

from __future__ import annotations

_LAYERS = "`netspec explain conv` explains a layer, and docs/layers.md lists them"

# The verbs of other tools, by those that are meant.
WORDS = {
    ("summarize",): "count flops macs info stats params parameters inspect profile shapes",
    ("check",): "lint validate typecheck verify-syntax",
    ("fmt",): "format pretty",
    ("compile",): "export build codegen onnx torch",
    ("import", "compile"): "convert transform translate",
    ("import",): "load from-onnx from-torch",
    ("draw",): "show view visualize visualise render graph picture",
    ("new",): "init create start template",
    ("train",): "fit learn",
    ("train", "predict"): "run",
    ("predict",): "infer inference classify",
    ("eval", "test-op"): "test",
    ("eval",): "evaluate score accuracy",
    ("runs",): "history experiments",
    ("bench",): "benchmark time speed",
}
_MEANT = {word: verbs for verbs, words in WORDS.items() for word in words.split()}


def verb_meant(word: str) -> str | None:
    """Return what to write in place of a verb of other tools; None for any other word."""
    if word.lower() in ("ops", "op", "layers", "layer", "list"):
        return _LAYERS
    verbs = _MEANT.get(word.lower())
    return f"did you mean `{'` or `'.join(verbs)}`?" if verbs else None
