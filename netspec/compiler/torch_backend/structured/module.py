"""The text of a class with the statements of the file: where its modules lie, and its `forward`."""

from __future__ import annotations

from collections.abc import Sequence, Set

from netspec.compiler.torch_backend.python_layout import Doc, Group, statement
from netspec.compiler.torch_backend.structured.constructor import Flag
from netspec.compiler.torch_backend.structured.flags import flags_of
from netspec.compiler.torch_backend.structured.flow import steps_in
from netspec.compiler.torch_backend.structured.forward import Forward
from netspec.compiler.torch_backend.structured.kept import Kept
from netspec.compiler.torch_backend.structured.layout import (
    DICT_ATTRIBUTES,
    SEQUENTIAL_ATTRIBUTES,
    Layout,
    NoChainError,
    Prefix,
)
from netspec.compiler.torch_backend.structured.structure import (
    Branch,
    NotStructuredError,
    Placed,
    Suite,
)


class ModuleText:
    """A body as a class.

    Args:
        body: the statements.
        names: the names in the body.
        kept: what the attributes are called that hold arguments.
        taken: the arguments of the class.
        inputs: the names of its inputs.
        is_chain: whether it is a `nn.Sequential`.

    Attributes:
        layout: where its modules lie.
        flags: how objects remember the cases that they were made for.
        attributes: the arguments that objects keep.

    Raises:
        NotStructuredError: if it cannot be written.
    """

    def __init__(
        self,
        body: Suite,
        names: set[str],
        kept: Kept,
        taken: Set[str],
        inputs: Sequence[str],
        *,
        is_chain: bool,
    ) -> None:
        self.body = body
        self.plain = "out" if "x" in names else "x"
        self.inputs = inputs
        self.kept = kept
        self.is_chain = is_chain
        self.flags: dict[Branch, Flag] = {}
        self.attributes: list[str] = []
        apart = _hiding(body)
        while True:
            try:
                self.layout = Layout(body, names, is_chain=is_chain, apart=apart)
                if not is_chain:
                    self.flags = flags_of(body, self.layout, set(taken))
                    self.attributes = self.forward("F").attributes()
            except NoChainError as error:
                apart.add(error.prefix)
                continue
            break
        self.layout.root.is_dict &= DICT_ATTRIBUTES.isdisjoint(self.attributes)
        labelled = {s.label[0] for s in steps_in(body) if isinstance(s, Placed) and s.label}
        if not labelled.isdisjoint(self.attributes):
            raise NotStructuredError

    def kept_lines(self) -> list[str]:
        """`self.width = width`, for each argument that objects keep."""
        kept = ((name, self.kept.argument(name)) for name in self.attributes)
        return [line for name, own in kept for line in statement(f"self.{name} = {own}", 2)]

    def forward(self, functional: str, gives: str = "") -> Forward:
        """Its `forward`.

        Args:
            functional: how `torch.nn.functional` is written.
            gives: the class of its results, if they have one.
        """
        return Forward(
            self.body, self.layout, self.inputs, functional, self.flags, self.plain, gives
        )


def _hiding(body: Suite) -> set[Prefix]:
    """The containers with a child that would hide what a `nn.Sequential` needs itself."""
    labels = (s.label for s in steps_in(body) if isinstance(s, Placed) and s.label)
    return {
        label[:end]
        for label in labels
        for end in range(1, len(label))
        if label[end] in SEQUENTIAL_ATTRIBUTES
    }


def forward_head(
    inputs: Sequence[str], results: int, name: str = "forward", gives: str = ""
) -> list[str]:
    """`def forward(self, x: torch.Tensor) -> torch.Tensor:`; `gives` is the class of its results."""
    tensors: list[Doc] = [f"{name}: torch.Tensor" for name in inputs]
    if not gives:
        gives = "torch.Tensor"
        if results > 1:
            gives = f"tuple[{', '.join(['torch.Tensor'] * results)}]"
        if results > 3:
            gives = "tuple[torch.Tensor, ...]"
    return statement(Group(f"def {name}(", ("self", *tensors), f") -> {gives}"), 1, after=":")
