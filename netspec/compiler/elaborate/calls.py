"""Calls by name of layers, blocks, and layers that are called more than once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netspec import codes
from netspec.compiler.elaborate.arguments import Arguments
from netspec.compiler.elaborate.blocks import Blocks
from netspec.compiler.elaborate.definitions import defined_only, move_hints
from netspec.compiler.elaborate.evaluator import Evaluator
from netspec.compiler.elaborate.fix_its import apply_edits
from netspec.compiler.elaborate.input_sizes import without_input_size
from netspec.compiler.elaborate.layer_names import LayerNames
from netspec.compiler.elaborate.layers import Layers
from netspec.compiler.elaborate.names import SPLIT, Names
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.elaborate.split import Splits
from netspec.compiler.elaborate.values import UNKNOWN, Input, Result, SharedLayer, Tensor, Unknown
from netspec.compiler.ir.graph import show_shape
from netspec.compiler.ir.op import Op
from netspec.compiler.syntax import other_frameworks
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Hint, Label, Span, quoted


class Calls:
    """Finds what a call refers to, and calls it."""

    def __init__(
        self,
        assembly: Assembly,
        names: Names,
        reporter: Reporter,
        evaluator: Evaluator,
        layer_names: LayerNames,
        arguments: Arguments,
        layers: Layers,
        splits: Splits,
        blocks: Blocks,
    ) -> None:
        self.assembly = assembly
        self.names = names
        self.reporter = reporter
        self.evaluator = evaluator
        self.layer_names = layer_names
        self.arguments = arguments
        self.layers = layers
        self.splits = splits
        self.blocks = blocks

    def apply(
        self, call: syntax.Call, inputs: Sequence[Input], label: syntax.Label | None, span: Span
    ) -> Result:
        """Call a layer, a block or a shared layer by its name."""
        self.reporter.count_work(span)
        names = self.names
        name = call.callee.id
        binding = names.scope.get(name)
        if binding is not None and isinstance(binding.value, SharedLayer):
            return self._apply_shared(binding.value, call, inputs, label, span)
        if binding is not None and name not in names.callables():
            if binding.value is not UNKNOWN:
                message = f"`{name}` is a value, and cannot be called"
                self.reporter.report(codes.CALL_NOT_A_LAYER, message, call.callee.span)
            return UNKNOWN
        if name in names.module.blocks:
            return self.blocks.apply(call, inputs, label, span)
        if name in names.module.ops:
            return self._apply_op(call, inputs, label, span)
        if name == SPLIT:
            return self.splits.apply(call, inputs, label, span)
        if name in names.module.missing or names.module.lacks_ops:
            self.assembly.failed = True
            meant = None
        else:
            meant = self.unknown_layer(call)
        if meant is None:
            for argument in call.arguments:
                self.evaluator.evaluate(argument.value)
            return UNKNOWN
        # Continue with what was probably meant, so that the rest of the file is checked too.
        names.guess(call.span)
        callee = syntax.Name(meant, call.callee.span)
        return self.apply(syntax.Call(callee, call.arguments, call.span), inputs, label, span)

    def unknown_layer(self, call: syntax.Call) -> str | None:
        """Report a call of a name that does not exist.

        Return the layer or block that was probably meant.
        """
        name = call.callee.id
        module = self.names.module
        known = self.names.callables()
        if name in module.nets:
            message = f"`{name}` is a net, and only blocks and layers can be called"
            self.reporter.report(codes.CALL_NOT_A_LAYER, message, call.callee.span)
            return None
        message = f"there is no layer or block `{name}`"
        if later := [
            d for d in self.names.definitions(name) if isinstance(d.statement, syntax.Layer)
        ]:
            self.reporter.report(
                codes.NAME_UNKNOWN_LAYER,
                f"{message} here",
                call.callee.span,
                secondary=defined_only(later),
                hints=move_hints(
                    call.callee, later, self.names.statements, self.names.scope.names()
                ),
            )
            return None
        meant = other_frameworks.layer_meant(name, known)
        hints: tuple[Hint, ...] = ()
        if (advice := other_frameworks.why_absent(name)) is not None:
            meant, hints = None, (Hint(advice),)
        if (several := other_frameworks.SEVERAL.get(name.lower().replace("_", ""))) is not None:
            meant, hints = None, (Hint(f"write `{several}`", (Edit(call.span, several),)),)
        if meant is not None:
            hints = (Hint(f"did you mean `{meant}`?", (Edit(call.callee.span, meant),)),)
            hints = tuple(_torch_call(call, module.ops.get(meant))) or hints
        from netspec.compiler.parse import op_files

        if (home := op_files.offering(name)) is not None:
            meant, hints = None, (Hint(f'{home} has it: write `use "{home}"` before the net'),)
        self.reporter.report(codes.NAME_UNKNOWN_LAYER, message, call.callee.span, hints=hints)
        if meant in module.blocks:
            self.names.doubt(module.blocks[meant][0].name.span, name)
        return meant

    def _apply_op(
        self, call: syntax.Call, inputs: Sequence[Input], label: syntax.Label | None, span: Span
    ) -> Input:
        self.reporter.count_work(span, 2)  # a layer takes as long as a few expressions
        cls = self.names.module.ops[call.callee.id]
        names = self.layer_names
        bound = self.arguments.bind(cls, call, len(inputs))
        values = [*inputs, *bound.inputs]
        if not self.arguments.check_inputs(cls, bound, values, span, call.callee.span):
            return UNKNOWN
        path = names.name(cls.name, label, span)
        known = _known(values)
        if not bound.ok or known is None or path is None:
            return UNKNOWN
        if bound.tied:
            bound.tied = {name: self.layer_names.path(label) for name, label in bound.tied.items()}
        op = bound.make(cls)
        return self.layers.add(op, bound, known, call, span, path, names.suffix)

    def _apply_shared(
        self,
        shared: SharedLayer,
        call: syntax.Call,
        inputs: Sequence[Input],
        label: syntax.Label | None,
        span: Span,
    ) -> Result:
        if label is not None:
            message = f"`{call.callee.id}` already has its name"
            self.reporter.report(codes.LABEL_SHARED, message, label.span)
        values = [self.evaluator.evaluate(argument.value) for argument in call.arguments]
        for argument, value in zip(call.arguments, values, strict=True):
            if isinstance(value, Tensor) and argument.name is None:
                inputs = [*inputs, value]
            elif value is not UNKNOWN:
                message = (
                    f"`{call.callee.id}` has its arguments already; this call gives values only"
                )
                self.reporter.report(codes.CALL_SHARED, message, argument.span)
        # In a further call of a shared block even the first use of a layer needs a number: `a@2`
        # alone would be the second use in the first call.
        suffix = f"@{shared.uses + 1}" if shared.uses or self.layer_names.suffix else ""
        shared.uses += 1
        name = shared.call.callee.id
        if name in self.names.module.blocks:
            return self.blocks.apply(shared.call, inputs, None, span, suffix, shared.path)
        if name == SPLIT:  # without parameters each use is independent
            return self.splits.apply(shared.call, inputs, None, span)
        if name not in self.names.module.ops:
            self.unknown_layer(shared.call)
            return UNKNOWN
        return self._use(shared, call, inputs, span, suffix)

    def _use(
        self,
        shared: SharedLayer,
        call: syntax.Call,
        inputs: Sequence[Input],
        span: Span,
        suffix: str,
    ) -> Input:
        """Call an op that was declared as a layer.

        Its parameters must be those of the first use.
        """
        cls = self.names.module.ops[shared.call.callee.id]
        bound = self.arguments.bind(cls, shared.call)
        ok = self.arguments.check_inputs(cls, bound, inputs, span)
        known = _known(inputs)
        if not ok or not bound.ok or known is None:
            return UNKNOWN
        if bound.tied:
            bound.tied = {name: self.layer_names.path(label) for name, label in bound.tied.items()}
        op = bound.make(cls)
        shapes = tuple(tensor.shape for tensor in known)
        fits = shapes == (shared.first_shapes or shapes)
        if not fits and op.parameters(*shared.first_shapes) != op.parameters(*shapes):
            assert shared.first_use is not None
            self.reporter.report(
                codes.LAYER_SHARED_SHAPE,
                f"`{call.callee.id}` has its parameters for {show_shape(shared.first_shapes[0])},"
                f" which do not fit {show_shape(shapes[0])}",
                span,
                label=f"gets {show_shape(shapes[0])}",
                secondary=(Label(shared.first_use, f"got {show_shape(shared.first_shapes[0])}"),),
                hints=_own_parameters(shared, call),
            )
            return UNKNOWN
        shared.first_shapes = shared.first_shapes or shapes
        shared.first_use = shared.first_use or span
        suffix += self.layer_names.suffix
        return self.layers.add(op, bound, known, shared.call, span, shared.path, suffix)


def _own_parameters(shared: SharedLayer, call: syntax.Call) -> tuple[Hint, ...]:
    """Return the hint to write a layer anew where its parameters do not fit."""
    anew = shared.call.span.text
    if call.arguments or "\n" in anew or shared.call.span.source is not call.span.source:
        return ()
    text = f"a layer with a name has one set of parameters; for others write {quoted(anew)} here"
    return (Hint(text, (Edit(call.span, anew),)),)


def _known(inputs: Sequence[Input]) -> list[Tensor] | None:
    """Return the input values, or None if one of them is unknown."""
    known = [value for value in inputs if not isinstance(value, Unknown)]
    return known if len(known) == len(inputs) else None


def _torch_call(call: syntax.Call, op: type[Op] | None) -> Iterator[Hint]:
    """Yield a hint for `Conv2d(32, 64, 3)`: PyTorch's name, with the size of the input as first
    argument.
    """
    if op is None or not other_frameworks.is_torch_class(call.callee.id):
        return
    if without := without_input_size(call, op):
        edits = (Edit(call.callee.span, op.name), *without)
        better = quoted(apply_edits(call.span, edits))
        yield Hint(f"write {better}: the size of the input is inferred", edits)
