"""Calls of anything by name: layers, blocks, and layers called more than once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.compiler.elaborate.fix_its import apply_edits, removal
from netspec.compiler.elaborate.input_sizes import torch_input_size
from netspec.compiler.elaborate.net_builder import MAX_CALLS_DEEP, StopBuildingError
from netspec.compiler.elaborate.scope import UNKNOWN, SharedLayer, Tensor, Tensors
from netspec.compiler.elaborate.split import Split, Splitter
from netspec.compiler.ir.graph import show_shape
from netspec.compiler.ops import registry
from netspec.compiler.syntax import other_frameworks
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Hint, Label, Span, plural, quoted, suggest

if TYPE_CHECKING:
    from netspec.compiler.parse.loader import Module


class Caller(Splitter):
    """Finds out what a call calls, and does it."""

    @abstractmethod
    def call_block(
        self,
        block: syntax.Block,
        module: Module,
        given: dict[str, Any],
        inputs: list[Any],
        spans: tuple[Span, Span],
        path: str,
        suffix: str,
    ) -> Any:
        """Build the body of a block; what it returns, or UNKNOWN.

        `spans` are those of the call and of the whole stage.
        """

    def callables(self) -> list[str]:
        """Layers and blocks."""
        return [*registry(), Split.name, *self.module.blocks]

    def apply(
        self, call: syntax.Call, inputs: list[Any], label: syntax.Label | None, span: Span
    ) -> Any:
        """Call a layer, a block or a shared layer by its name."""
        self.count_work(span)
        name = call.callee.id
        binding = self.scope.get(name)
        if binding is not None and isinstance(binding.value, SharedLayer):
            return self._apply_shared(binding.value, call, inputs, label, span)
        if binding is not None and name not in self.callables():
            if binding.value is not UNKNOWN:
                message = f"`{name}` is a value, and cannot be called"
                self.report(codes.CALL_NOT_A_LAYER, message, call.callee.span)
            return UNKNOWN
        if name in self.module.blocks:
            return self._apply_block(call, inputs, label, span, "")
        if name in registry():
            return self._apply_op(call, inputs, label, span)
        if name == Split.name:
            return self.apply_split(call, inputs, label, span)
        if name in self.module.missing:
            self.assembly.failed = True
            meant = None
        else:
            meant = self._unknown_layer(call)
        if meant is None:
            for argument in call.arguments:
                self.evaluate(argument.value)
            return UNKNOWN
        # Go on with what was probably meant, so that the rest of the file is checked too.
        self.guess(call.span)
        callee = syntax.Name(meant, call.callee.span)
        return self.apply(syntax.Call(callee, call.arguments, call.span), inputs, label, span)

    def _unknown_layer(self, call: syntax.Call) -> str | None:
        name = call.callee.id
        known = self.callables()
        if name in self.module.nets:
            message = f"`{name}` is a net, and only blocks and layers can be called"
            self.report(codes.CALL_NOT_A_LAYER, message, call.callee.span)
            return None
        meant = other_frameworks.layer_meant(name, known)
        hints: tuple[Hint, ...] = ()
        if (advice := other_frameworks.why_absent(name)) is not None:
            meant, hints = None, (Hint(advice),)
        if (several := other_frameworks.SEVERAL.get(name.lower().replace("_", ""))) is not None:
            meant, hints = None, (Hint(f"write `{several}`", (Edit(call.span, several),)),)
        if meant is not None:
            hints = (Hint(f"did you mean `{meant}`?", (Edit(call.callee.span, meant),)),)
            hints = tuple(self._torch_call(call, meant)) or hints
        message = f"there is no layer or block `{name}`"
        self.report(codes.NAME_UNKNOWN_LAYER, message, call.callee.span, hints=hints)
        if meant in self.module.blocks:
            self.doubt(self.module.blocks[meant][0].name.span, name)
        return meant

    def _torch_call(self, call: syntax.Call, meant: str) -> Iterator[Hint]:
        """`Conv2d(32, 64, 3)`: PyTorch's name, and first the size of the input."""
        op = registry().get(meant)
        if op is None or not other_frameworks.is_torch_class(call.callee.id):
            return
        size = torch_input_size(call, op)
        if size is not None:
            edits = (Edit(call.callee.span, meant), removal(call, size))
            better = quoted(apply_edits(call.span, edits))
            yield Hint(f"write {better}: the size of the input is inferred", edits)

    def _apply_op(
        self, call: syntax.Call, inputs: list[Any], label: syntax.Label | None, span: Span
    ) -> Any:
        cls = registry()[call.callee.id]
        bound = self.bind_arguments(cls, call, len(inputs))
        inputs = inputs + bound.inputs
        if not self.check_arity(cls.name, cls.arity, inputs, span):
            return UNKNOWN
        path = self._name_layer(cls.name, label, span)
        if not bound.ok or UNKNOWN in inputs or path is None:
            return UNKNOWN
        return self.add_layer(cls(**bound.values), bound, inputs, call, span, path, self.suffix)

    def _apply_shared(
        self,
        shared: SharedLayer,
        call: syntax.Call,
        inputs: list[Any],
        label: syntax.Label | None,
        span: Span,
    ) -> Any:
        if label is not None:
            message = f"`{call.callee.id}` already has its name"
            self.report(codes.LABEL_SHARED, message, label.span)
        values = [self.evaluate(argument.value) for argument in call.arguments]
        for argument, value in zip(call.arguments, values, strict=True):
            if isinstance(value, Tensor) and argument.name is None:
                inputs = [*inputs, value]
            elif value is not UNKNOWN:
                message = (
                    f"`{call.callee.id}` has its arguments already; this call gives values only"
                )
                self.report(codes.CALL_SHARED, message, argument.span)
        # In a further call of a shared block even its first use needs a number: `a@2` alone would be
        # the second use in the first call.
        suffix = f"@{shared.uses + 1}" if shared.uses or self.suffix else ""
        shared.uses += 1
        home: Caller = shared.scope
        if shared.call.callee.id in self.module.blocks:
            return home._apply_block(shared.call, inputs, None, span, suffix, shared.path)
        if shared.call.callee.id == Split.name:  # has no parameters: each use is a use of its own
            return self.apply_split(shared.call, inputs, None, span)
        cls = registry().get(shared.call.callee.id)
        if cls is None:
            home._unknown_layer(shared.call)
            return UNKNOWN
        bound = home.bind_arguments(cls, shared.call)
        ok = self.check_arity(cls.name, cls.arity, inputs, span)
        if not ok or not bound.ok or UNKNOWN in inputs:
            return UNKNOWN
        op = cls(**bound.values)
        shapes = tuple(tensor.shape for tensor in inputs)
        fits = shapes == (shared.first_shapes or shapes)
        if not fits and op.parameters(*shared.first_shapes) != op.parameters(*shapes):
            assert shared.first_use is not None
            self.report(
                codes.LAYER_SHARED_SHAPE,
                f"`{call.callee.id}` has its parameters for {show_shape(shared.first_shapes[0])},"
                f" which do not fit {show_shape(shapes[0])}",
                span,
                label=f"gets {show_shape(shapes[0])}",
                secondary=(Label(shared.first_use, f"got {show_shape(shared.first_shapes[0])}"),),
            )
            return UNKNOWN
        shared.first_shapes = shared.first_shapes or shapes
        shared.first_use = shared.first_use or span
        return self.add_layer(
            op, bound, inputs, shared.call, span, shared.path, suffix + self.suffix
        )

    def _apply_block(
        self,
        call: syntax.Call,
        inputs: list[Any],
        label: syntax.Label | None,
        span: Span,
        suffix: str,
        path: str | None = None,
    ) -> Any:
        block, module = self.module.blocks[call.callee.id]
        given, more = self._block_arguments(block, call)
        inputs = inputs + more
        if not self.check_arity(block.name.id, len(block.inputs), inputs, span):
            return UNKNOWN
        if self.assembly.calls_deep >= MAX_CALLS_DEEP:
            message = f"blocks call each other more than {MAX_CALLS_DEEP} deep"
            self.report(codes.LIMIT_NESTING, message, call.span)
            raise StopBuildingError
        path = path or self._name_layer(_snake(block.name.id), label, span)
        if path is None:
            return UNKNOWN
        return self.call_block(block, module, given, inputs, (call.span, span), path, suffix)

    def _block_arguments(
        self, block: syntax.Block, call: syntax.Call
    ) -> tuple[dict[str, Any], list[Any]]:
        """The constants by name and the values in order that a call gives to a block."""
        order = [parameter.name.id for parameter in block.parameters]
        given: dict[str, Any] = {}
        inputs: list[Any] = []
        positional = 0
        for argument in call.arguments:
            value = self.evaluate(argument.value)
            if argument.name is None and isinstance(value, (Tensor, Tensors)):
                inputs += value.items if isinstance(value, Tensors) else [value]
                continue
            if argument.name is not None:
                name = argument.name.id
            elif positional < len(order):
                name = order[positional]
                positional += 1
            elif value is UNKNOWN:
                inputs.append(UNKNOWN)
                continue
            else:
                message = f"block {block.name.id} takes {plural(len(order), 'argument')}"
                self.report(codes.CALL_TOO_MANY, message, argument.span)
                continue
            if isinstance(value, (Tensor, Tensors, SharedLayer)):
                message = f"`{name}` must be a constant, not a value of the net"
                self.report(codes.VALUE_NOT_A_CONSTANT, message, argument.value.span)
                value = UNKNOWN
            if name not in order:
                assert argument.name is not None
                meant = suggest(name, [o for o in order if o not in given])
                edits = (Edit(argument.name.span, meant),) if meant else ()
                hints = (Hint(f"did you mean `{meant}`?", edits),) if meant else ()
                message = f"block {block.name.id} has no argument `{name}`"
                notes = (f"it takes {', '.join(order)}",) if order else ("it takes none",)
                self.report(
                    codes.CALL_UNKNOWN_ATTRIBUTE,
                    message,
                    argument.name.span,
                    hints=hints,
                    notes=notes,
                )
                name = meant or name
            elif name in given:
                self.report(codes.CALL_TWICE, f"`{name}` is given twice", argument.span)
            given[name] = value
            if name in order:
                # Errors in the block about this value point to where it was written.
                parameter = block.parameters[order.index(name)]
                self.assembly.written[parameter.name.span] = self.place(argument.value)
        return given, inputs


def _snake(name: str) -> str:
    """`BasicBlock` as `basic_block`: what an unlabelled call of a block is numbered under."""
    out = ""
    for i, char in enumerate(name):
        if char.isupper() and i and not name[i - 1].isupper() and name[i - 1] != "_":
            out += "_"
        out += char.lower()
    return out
