"""Verbs of other tools and options of other verbs, and what they are here."""

from __future__ import annotations

import shlex

from netspec.files.model_files import what_to_do

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

_BUDGET = "a budget is checked by `netspec summarize FILE --target c"
# What options that a verb does not have are looked for in it, by the verb and the option.
_OPTIONS = {
    ("compile", "--ram"): f"{_BUDGET} --ram 64K`",
    ("compile", "--flash"): f"{_BUDGET} --flash 256K`",
}


def option_meant(verb: str, option: str) -> str | None:
    """Return where an option is that a verb does not have; None for any other option."""
    return _OPTIONS.get((verb, option))


def task_meant(verb: str, name: str, near: str | None) -> str | None:
    """Return what to write where a file follows a verb that has tasks, in place of one.

    Args:
        verb: the verb.
        name: what follows it.
        near: the task that has a similar name, if there is one.
    """
    if verb == "data":
        return None if near else f"did you mean `netspec data info {shlex.quote(name)}`?"
    return what_to_do(name)


def verb_meant(word: str) -> str | None:
    """Return what to write in place of a verb of other tools; None for any other word."""
    if word.lower() in ("ops", "op", "layers", "layer", "list"):
        return _LAYERS
    verbs = _MEANT.get(word.lower())
    return f"did you mean `{'` or `'.join(verbs)}`?" if verbs else None
