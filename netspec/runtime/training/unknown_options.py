"""What is meant by an option of training that `netspec.fit` does not have under this name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable

from netspec import codes
from netspec.diagnostics import NetspecError, suggest

# What Keras, PyTorch's examples and scikit-learn call our arguments.
_ELSEWHERE = {
    "learning_rate": "lr", "batch_size": "batch", "num_epochs": "epochs", "n_epochs": "epochs",
    "validation_split": "val", "criterion": "loss", "loss_fn": "loss", "scheduler": "schedule",
    "optim": "optimizer", "random_state": "seed", "verbose": "progress", "max_grad_norm": "clip_norm",
    "callbacks": "on_epoch", "augmentation": "augment", "patience": "early_stopping",
}  # fmt: skip
# Options of a choice, which stand in a dict of their own.
_OF_CHOICES = {
    **dict.fromkeys(
        ("momentum", "beta1", "beta2", "eps", "weight_decay", "alpha", "amsgrad"),
        "optimizer_options",
    ),
    **dict.fromkeys(("gamma", "milestones", "step_size", "power"), "schedule_options"),
    **dict.fromkeys(("label_smoothing", "class_weights", "delta", "temperature"), "loss_options"),
}


def refuse_unknown(given: Iterable[str], fit: Callable[..., object]) -> None:
    """Refuse keywords that a training function does not take.

    Args:
        given: the keywords.
        fit: the function, whose own arguments are suggested.

    Raises:
        NetspecError: `train/bad-option` for the first.
    """
    for name in given:
        raise _unknown(name, fit)


def _unknown(name: str, fit: Callable[..., object]) -> NetspecError:
    known = [each for each in inspect.signature(fit).parameters if each != "unknown"]
    meant = _ELSEWHERE.get(name) or suggest(name, known)
    help = f"did you mean `{meant}`?" if meant is not None else None
    if name in _OF_CHOICES:
        help = f'it stands in a dict: {_OF_CHOICES[name]}={{"{name}": ...}}'
    message = f"`netspec.fit` has no argument `{name}`"
    return NetspecError.simple(codes.TRAIN_BAD_OPTION, message, help)
