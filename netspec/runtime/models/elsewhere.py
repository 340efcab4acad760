"""What models of other tools have as methods, and netspec elsewhere: told where it is looked for."""

from __future__ import annotations

_ELSEWHERE = {
    "save": "netspec.save_weights(path, model.state_dict(), model.trained_on)",
    "load": "model.load_state_dict(netspec.load_weights(path))",
    "fit": "netspec.fit(model, data)",
    "train": "netspec.fit(model, data)",
    "summary": "print(net.summary())",
}


def no_attribute(model: object, name: str) -> AttributeError:
    """Return the error for an attribute that a model does not have."""
    text = f"'{type(model).__name__}' object has no attribute '{name}'"
    instead = _ELSEWHERE.get(name)
    return AttributeError(text if instead is None else f"{text}: {instead}", name=name, obj=model)
