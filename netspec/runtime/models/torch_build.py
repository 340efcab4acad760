"""Builds a runnable PyTorch module from a net: the generated class with NumPy's initial values."""

from __future__ import annotations

import functools
import linecache
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from weakref import finalize

import numpy as np

from netspec import codes
from netspec.compiler.elaborate.written import Written
from netspec.compiler.ir.graph import Graph
from netspec.compiler.passes.layer_limit import require_few_layers
from netspec.compiler.torch_backend import torch_source
from netspec.diagnostics import NetspecError
from netspec.runtime.models.numpy_model import DTYPES, draw_parameter
from netspec.runtime.models.room import require_room_for_parameters

if TYPE_CHECKING:
    import torch
    from torch import nn

T = TypeVar("T")


class CheckedNet(Protocol):
    """The part of `netspec.Net` that is used here."""

    @property
    def name(self) -> str:
        """The name of the net and of its class."""
        ...

    @property
    def graph(self) -> Graph:
        """Its layers and parameters."""
        ...

    @property
    def written(self) -> Written:
        """The syntax it was built from."""
        ...


def require_torch() -> Any:
    """Import and return PyTorch.

    Raises:
        NetspecError: `torch/missing`.
    """
    try:
        import torch
    except ImportError:
        raise NetspecError.simple(
            codes.TORCH_MISSING, "PyTorch is not installed", "pip install 'netspec-dsl[torch]'"
        ) from None
    return torch


def module_class(net: CheckedNet) -> type[nn.Module]:
    """Return the generated class of a net.

    Its source is known to debuggers and tracebacks. The executed source is generated from checked
    names and numbers; text of the file appears in it only as escaped literals and in comments.

    Raises:
        NetspecError: `torch/missing`; `limit/layers`.
    """
    require_few_layers(net.graph)
    require_torch()
    made: type[nn.Module] = _classes_of(torch_source(net.written), net.name)[net.name]
    return made


_numbers = count()


@functools.lru_cache(maxsize=32)
def _classes_of(source: str, name: str) -> dict[str, Any]:
    """Return the classes in a net's generated source, by name: that of the net and of its blocks."""
    filename = f"<netspec torch {name} {next(_numbers)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    namespace: dict[str, Any] = {"__name__": f"netspec_generated_{name}"}
    # It does not inherit this module's `annotations`: TorchScript reads types, and no text.
    code = compile(source, filename, "exec", dont_inherit=True)
    exec(code, namespace)
    # Dynamo imports the module of a function that it inlines where its globals have a name. This
    # one is kept out of sys.modules, which would keep it for ever.
    module = namespace.pop("__name__")
    defined = {
        key: each
        for key, each in namespace.items()
        if isinstance(each, type) and each.__module__ == module and not issubclass(each, tuple)
    }
    for each in defined.values():
        setattr(each, "__reduce_ex__", _reduction(each, source, name))  # noqa: B010
    finalize(defined[name], linecache.cache.pop, filename, None)
    return defined


def _reduction(made: type, source: str, name: str) -> Callable[[Any, Any], Any]:
    """Return how modules of a generated class are pickled: unpickling generates the class again."""

    def reduce(module: nn.Module, protocol: Any) -> Any:
        if type(module) is not made:  # of a derived class
            return object.__reduce_ex__(module, protocol)
        return _unfilled, (source, name, made.__name__), module.__dict__

    return reduce


def _unfilled(source: str, name: str, class_name: str) -> nn.Module:
    """Return a module of a generated class without its attributes, which unpickling sets."""
    made = _classes_of(source, name)[class_name]
    module: nn.Module = made.__new__(made)
    return module


def build_module(net: CheckedNet, *, dtype: str = "float32", seed: int = 0) -> nn.Module:
    """Return the generated module, with the same initial values as the NumPy program.

    Args:
        net: a checked net.
        dtype: `float32` or `float64`.
        seed: the seed of the initial values.

    Returns:
        A module in training mode on the CPU; its `state_dict` has the net's parameter names. It is
        called with the inputs in the file's order, and returns its output or a tuple of outputs.

    Raises:
        NetspecError: `torch/missing`, `model/dtype`, `limit/memory`.
    """
    torch = require_torch()
    if dtype not in DTYPES:
        names = ", ".join(DTYPES)
        raise NetspecError.simple(codes.MODEL_DTYPE, f"dtype must be one of {names}, not {dtype!r}")
    # A copy of the values is loaded.
    require_room_for_parameters(net.graph, np.dtype(DTYPES[dtype]).itemsize, copies=2)
    # Created without values, because they are loaded next: initializing VGG takes seconds.
    with torch.device("meta"):
        module: nn.Module = module_class(net)()
    module = module.to_empty(device="cpu").to(getattr(torch, dtype))
    state = {
        name: torch.from_numpy(draw_parameter(parameter, seed))
        for name, parameter in net.graph.parameters.items()
    }
    tie(module, net.graph)
    load_all(module, with_ties(net.graph, state))
    return module


def tie(module: nn.Module, graph: Graph) -> None:
    """Make one of tied parameters again, as the constructor did: `to_empty` makes one for each layer."""
    for own, full in graph.ties.items():
        path, _, name = own.rpartition(".")
        setattr(module.get_submodule(path), name, module.get_parameter(full))


def with_ties(graph: Graph, state: Mapping[str, T]) -> dict[str, T]:
    """Return a state with tied parameters under each of their names, as a module has them."""
    return {**state, **{own: state[full] for own, full in graph.ties.items()}}


def load_all(module: nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Set the parameters and buffers of a module, and the constants, which its state dict lacks."""
    saved = module.state_dict().keys()
    module.load_state_dict({name: tensor for name, tensor in values.items() if name in saved})
    for name in values.keys() - saved:
        module.get_buffer(name).copy_(values[name])
