"""Traces a PyTorch module with `torch.export`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from netspec.imports.torch_front.calling import Calling
from netspec.runtime.models.torch_build import require_torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import nn
    from torch.export import ExportedProgram

EXAMPLE_BATCH = 2
"""How many images the example has. With 1, PyTorch would take the batch for a fixed size."""


def exported(
    module: nn.Module, example: Sequence[torch.Tensor], calling: Calling, *, training: bool
) -> ExportedProgram:
    """Trace a module, with a batch of open size, into operators as they were called.

    The module itself is not changed. The inputs of the trace are in the order of `calling`.

    Raises:
        OwnGradientError: if the code has a function with a gradient of its own.
        Exception: whatever the module's code or the trace raises.
    """
    torch = require_torch()
    traced = copy.deepcopy(module).train(training)
    in_order, by_name = calling.arguments(example)
    dims = {0: torch.export.Dim.AUTO}
    sizes = {**_by_parameter(traced, [dims] * len(in_order)), **dict.fromkeys(by_name, dims)}
    with _quiet(), _without_own_gradients():
        program: ExportedProgram = torch.export.export(
            traced, in_order, by_name, dynamic_shapes=sizes, strict=False
        )
    return program


def _by_parameter(module: nn.Module, dims: Sequence[Mapping[int, Any]]) -> dict[str, Any]:
    """Return the open sizes of what is given in order as `torch.export` wants them: under the names
    of `forward`'s parameters, or in the one tuple of `*args`.
    """
    import inspect

    parameters = list(inspect.signature(module.forward).parameters.values())
    found: dict[str, Any] = {}
    left = list(dims)
    for parameter in parameters:
        if not left:
            break
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            found[parameter.name], left = tuple(left), []
        elif parameter.kind in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            found[parameter.name] = left.pop(0)
    return found


class OwnGradientError(Exception):
    """A function of the model has a gradient of its own, which a trace loses without a word."""


@contextmanager
def _without_own_gradients() -> Iterator[None]:
    """Refuse subclasses of `torch.autograd.Function` while a module is traced."""
    torch = require_torch()
    function = torch.autograd.Function
    apply = function.__dict__["apply"]

    def refuse(cls: type, *args: Any, **options: Any) -> Any:
        if cls.__module__.partition(".")[0] == "torch":
            return apply.__func__(cls, *args, **options)
        raise OwnGradientError(f"`{cls.__name__}` has a gradient of its own")

    function.apply = classmethod(refuse)
    try:
        yield
    finally:
        function.apply = apply


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the notes of the trace, which are about its own working, off the terminal. Where it fails,
    it writes its whole graph there.
    """
    import contextlib
    import io
    import logging
    import warnings

    logger = logging.getLogger("torch")
    level = logger.level
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)
