"""How a module's `forward` is given its inputs: in order, or by the names of its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import nn

from netspec import codes
from netspec.diagnostics import NetspecError

T = TypeVar("T")
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class Calling:
    """Which inputs go where.

    Attributes:
        in_order: the numbers of the inputs that are given in order.
        by_name: the numbers of the others, by the names of parameters.
    """

    in_order: tuple[int, ...]
    by_name: Mapping[str, int]

    @classmethod
    def of(cls, module: nn.Module, names: Sequence[str]) -> Calling:
        """Return how a module takes inputs of these names.

        They are given in order, unless all are names of parameters of `forward`.
        """
        parameters = list(inspect.signature(module.forward).parameters.values())
        known = {p.name for p in parameters if p.kind in _BY_NAME}
        if not set(names) <= known:
            return cls(tuple(range(len(names))), {})
        in_order: list[int] = []
        by_name: dict[str, int] = {}
        skipped = False
        for parameter in parameters:
            if parameter.name not in names:
                skipped = True
                continue
            at = names.index(parameter.name)
            if skipped or parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                by_name[parameter.name] = at
            else:
                in_order.append(at)
        return cls(tuple(in_order), by_name)

    def require_taken(self, module: nn.Module, names: Sequence[str]) -> None:
        """Check that a module's `forward` can be called so.

        Args:
            module: the module.
            names: of the inputs.

        Raises:
            NetspecError: `import/module` if it takes more inputs, or fewer.
        """
        signature = inspect.signature(module.forward)
        in_order, by_name = self.arguments(names)
        try:
            signature.bind(*in_order, **by_name)
        except TypeError as error:
            given = ", ".join(names) or "nothing"
            example = next(iter(signature.parameters), "image")
            raise NetspecError.simple(
                codes.IMPORT_MODULE,
                f"`forward{_shown(signature)}` cannot be called with {given}: {error}",
                "name each input in the order of `forward`, with its sizes for one image:"
                f" `--input {example}=3,224,224`, or in Python `{{{example!r}: tensor}}`",
            ) from None

    def order(self, given: Sequence[T]) -> list[T]:
        """Return what the inputs have in the order of `forward`'s parameters."""
        return [given[at] for at in (*self.in_order, *self.by_name.values())]

    def arguments(self, given: Sequence[T]) -> tuple[tuple[T, ...], dict[str, T]]:
        """Return what `forward` is called with."""
        named = {name: given[at] for name, at in self.by_name.items()}
        return tuple(given[at] for at in self.in_order), named


def _shown(signature: inspect.Signature) -> str:
    """The parameters of a function, without their types."""
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))
