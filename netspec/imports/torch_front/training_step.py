"""One step of training of a PyTorch module in float64, in which nothing is dropped."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from netspec.imports.aten_table import AtenTable
from netspec.imports.torch_front.calling import Calling
from netspec.runtime.models.torch_build import require_torch
from netspec.tools.agreement.case import Trial

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

    Arrays = dict[str, NDArray[Any]]

# The functions that drop numbers, whose result is then their first argument.
_DROPPING = frozenset(
    "dropout dropout_ dropout1d dropout2d dropout3d feature_dropout feature_dropout_"
    " alpha_dropout alpha_dropout_ feature_alpha_dropout".split()
)
# How functions call the rate at which they drop something inside.
_RATES = ("dropout_p", "dropout")


def training_step(
    module: nn.Module,
    trial: Trial,
    names: Sequence[str],
    calling: Calling,
    outputs_of: Callable[[object], Mapping[str, torch.Tensor]],
    table: AtenTable,
    *,
    gradients: bool,
) -> tuple[Arrays, Arrays]:
    """Run a copy of a module on a trial, with the trial's parameters.

    Args:
        module: the module, which is not changed.
        trial: a batch, parameters, and what is differentiated.
        names: the names of the inputs.
        calling: how the model takes them.
        outputs_of: names the outputs.
        table: what modules are in netspec, and so which attribute is a rate of dropping.
        gradients: whether to differentiate.

    Returns:
        the outputs by name, and the gradients of the parameters by their names.
    """
    torch = require_torch()
    model = copy.deepcopy(module).double().train()
    state = model.state_dict(keep_vars=True)  # it knows the versions of modules, too
    own = {id(state[n]): a for n, a in trial.parameters.items() if n in state}
    for name, tensor in state.items():  # one tensor may have several names
        if id(tensor) in own:
            state[name] = torch.from_numpy(own[id(tensor)].copy())
    model.load_state_dict(state)
    _set_rates(model, table)
    in_order, by_name = calling.arguments(
        [torch.from_numpy(trial.inputs[name].copy()) for name in names]
    )
    with torch.set_grad_enabled(gradients), _double_by_default(), _changed_functions():
        outputs = outputs_of(model(*in_order, **by_name))
    slopes: Arrays = {}
    if gradients:
        objective = trial.objective.in_torch(outputs)
        if objective.requires_grad:  # as that of a model without parameters does not
            objective.backward()
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if parameter.grad is not None and name in trial.parameters:
                slopes[name] = parameter.grad.numpy()
    return {name: y.detach().numpy() for name, y in outputs.items()}, slopes


def _set_rates(model: nn.Module, table: AtenTable) -> None:
    """Set the rates of all modules that are layers which drop something to 0."""
    for part in model.modules():
        kind = type(part)
        found = table.module(f"{kind.__module__}.{kind.__qualname__}")
        if found is None:
            continue
        op, form = found
        given = form.attributes.get(op.rate) if op.rate else None
        names = (given,) if isinstance(given, str) else given if isinstance(given, tuple) else ()
        for name in names:
            if isinstance(getattr(part, name, None), (int, float)):
                setattr(part, name, 0.0)


@contextmanager
def _double_by_default() -> Iterator[None]:
    """Let tensors that a model makes itself be of double precision."""
    torch = require_torch()
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _changed_functions() -> Any:
    """Return a context in which functions of PyTorch drop nothing, and none asks for single
    precision.
    """
    torch = require_torch()

    def doubled(given: Any) -> Any:
        return torch.float64 if given is torch.float32 else given

    class Changed(torch.overrides.TorchFunctionMode):  # type: ignore[misc,name-defined]
        """Returns what dropping functions are given, and double precision for single."""

        def __torch_function__(
            self,
            func: Any,
            types: Any,
            args: tuple[Any, ...] = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> Any:
            """Call a function of PyTorch."""
            given = dict(kwargs or {})
            if getattr(func, "__name__", "") in _DROPPING:
                return args[0] if args else given["input"]
            given.update({rate: 0.0 for rate in _RATES if isinstance(given.get(rate), float)})
            if getattr(func, "__name__", "") == "float":
                return args[0].double()
            given = {name: doubled(item) for name, item in given.items()}
            return func(*map(doubled, args), **given)

    return Changed()
