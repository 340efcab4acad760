"""The JSON that verbs print follows the schemas in `docs`."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import numpy as np
import pytest

import netspec
from netspec.runtime.data import Dataset
from tests.conftest import ROOT, Run, Write
from tests.helpers.json_schemas import closed

STEPS = """scan block Cell(n) x {
    state h: [n] = zeros
    h = tanh((x -> linear(n)) + (h -> linear(n)))
    return h
}
net A(width = 3) {
    input x: [T, width]
    layer s = linear(width)
    output x -> s -> s -> Cell(5)
}
"""
SMALL = "net B {\n input x: [3]\n output x -> linear(2) -> relu\n}\n"
CALLS: dict[str, tuple[str, ...]] = {
    "summarize": ("summarize", "a.net"),
    "summarize folded": ("summarize", "a.net", "--blocks"),
    "diff": ("diff", "a.net", "--set-b", "width=4"),
    "diff names": ("diff", "a.net", "b.net", "--ignore", "init,names"),
    "diff folders": ("diff", "one", "two"),
    "gradcheck": ("gradcheck", "b.net", "--backend", "numpy", "--directions", "2"),
}


def follows(name: str, data: Any) -> None:
    schema = json.loads((ROOT / f"docs/{name}.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(data, closed(schema))
    for field in schema.get("required", ()):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({k: v for k, v in data.items() if k != field}, schema)


@pytest.mark.parametrize("name", CALLS)
def test_the_json_of_a_verb_follows_its_schema(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(write(STEPS, "a.net").parent)
    write(STEPS, "one/n.net")
    for path in ("b.net", "two/n.net"):
        write(SMALL, path)
    verb, *rest = CALLS[name]
    finished = run(verb, *rest, "--format", "json")
    assert finished.err == ""
    follows(verb, json.loads(finished.out))


def test_the_json_of_an_evaluation_follows_its_schema() -> None:
    x, y = np.zeros((8, 3), np.float32), np.arange(8) % 2
    model = netspec.loads(SMALL).compile()
    found = model.evaluate(Dataset("mine", x, y, x, y, 2, ("a", "b")), normalize="none")
    follows("eval", {"net": "B", "data": "mine", "part": "test", **found.to_dict()})
