"""Calls of layers: infers the shape, and adds a node to the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netspec import codes
from netspec.compiler.elaborate.arguments import Bound
from netspec.compiler.elaborate.fix_its import branch_hints, fix_hints
from netspec.compiler.elaborate.follower import Follower
from netspec.compiler.elaborate.input_shapes import batch_hints, input_hints, is_doubtful
from netspec.compiler.elaborate.input_sizes import input_size_hints, likely_input_size, two_numbers
from netspec.compiler.elaborate.names import Names
from netspec.compiler.elaborate.net_builder import (
    MAX_ELEMENTS,
    MAX_ERRORS,
    Assembly,
    StopBuildingError,
)
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.elaborate.shortcuts import shortcut_hint
from netspec.compiler.elaborate.sketch import Misfit
from netspec.compiler.elaborate.values import NUMBER_TYPES, UNKNOWN, Input, Tensor
from netspec.compiler.ir.constants import open_help
from netspec.compiler.ir.graph import Node, Origin, Parameter, Shape, show_shape
from netspec.compiler.ir.initializers import Initializer
from netspec.compiler.ir.op import NoTorchFormError, Op, ParameterSpec, ShapeError, beyond_usual
from netspec.compiler.ir.sizes import Size, are_short, elements, is_known, names_in
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.syntax.tree import NumberType
from netspec.diagnostics import Hint, Label, Span, quoted, suggest

_LONGEST = (
    "give {0} a number, or make it as long as may be, and take `slice_as(parameter, x)` of it"
)
# The types of the sizes of most shapes.
_PLAIN = frozenset({int})


class Layers:
    """Adds the nodes of layers. `rules` are the initial values that the body sets with `init`."""

    def __init__(
        self,
        assembly: Assembly,
        reporter: Reporter,
        names: Names,
        rules: Mapping[str, Initializer],
        follower: Follower,
    ) -> None:
        self.assembly = assembly
        self.reporter = reporter
        self.names = names
        self.rules = rules
        self.follower = follower

    def add(
        self,
        op: Op,
        bound: Bound,
        inputs: Sequence[Tensor],
        call: syntax.Call,
        span: Span,
        path: str,
        suffix: str,
    ) -> Input:
        """Infer the shape, and add the node and its parameters.

        Return UNKNOWN after a reported error.
        """
        types = tuple(tensor.holds for tensor in inputs)
        if not self._require_types(op, inputs, types, span):
            return UNKNOWN
        op = op.given(types)
        shapes = tuple(tensor.shape for tensor in inputs)
        try:
            shape = op.shape(*shapes)
            specs = op.parameters(*shapes)
        except ShapeError as error:
            self.report_shape(error, op, bound, inputs, call, span)
            self._keep_misfit(error, op, inputs, span)
            return UNKNOWN
        if more := beyond_usual(len(specs)):
            self.reporter.count_work(span, more)
        self._check_size(op, shape, specs, span)
        self._doubt_input_size(op, bound, call, shapes[0])
        if not self._parameters_have_sizes(op, specs, span):
            return UNKNOWN
        names = {}
        for spec in specs:
            if spec.name in bound.tied:
                is_sound = self._tie(op, spec, bound, shapes)
                names[spec.name] = bound.tied[spec.name]
            else:
                full = f"{path}.{spec.name}" if spec.name else path
                names[spec.name] = full
                is_sound = self._hold(op, full, spec, bound, span, is_shared=bool(suffix))
            if not is_sound:
                return UNKNOWN
        origin = Origin(span, call, bound.spans, self.reporter.trace())
        node = Node(
            path + suffix, op, tuple(tensor.name for tensor in inputs), shape, names, origin
        )
        self.assembly.add_node(node)
        if doubtful := self.assembly.doubtful:
            depths = [doubtful[value] for value in node.inputs if value in doubtful]
            if depths:
                doubtful[node.name] = min(depths)
        self.follower.added(node, shapes, specs, path)
        return Tensor(node.name, shape, span, types[0] if op.only_moves else "real")

    def _require_types(
        self, op: Op, inputs: Sequence[Tensor], types: Sequence[NumberType], span: Span
    ) -> bool:
        """Check that a layer takes what its inputs hold: real numbers, whole ones or booleans."""
        if op.only_moves:
            if len(set(types)) == 1:
                return True
            kinds = " and ".join(dict.fromkeys(NUMBER_TYPES[each] for each in types))
            message = f"`{op.name}` needs values of one kind, not {kinds}"
            self.reporter.report(codes.VALUE_TYPE, message, span)
            return False
        for i, (each, holds) in enumerate(zip(inputs, types, strict=True)):
            takes = op.takes(i)
            if holds in takes:
                continue
            message = (
                f"`{op.name}` takes {NUMBER_TYPES[takes[0]]}, and `{each.name}` holds"
                f" {NUMBER_TYPES[holds]}"
            )
            if holds == "real":
                help = f"declare the input so: `input name: {takes[0]}[...]`"
            elif holds == "int" and takes[0] == "real":
                help = "`embedding` makes vectors of whole numbers"
            elif takes[0] == "real":
                help = "without `bool`, a mask is of real numbers, 0 and 1"
            else:
                help = f"the input is declared as `{holds}[...]`"
            self.reporter.report(codes.VALUE_TYPE, message, span, hints=(Hint(help),))
            return False
        return True

    def _keep_misfit(self, error: ShapeError, op: Op, inputs: Sequence[Tensor], span: Span) -> None:
        if len(self.assembly.misfits) < MAX_ERRORS:
            values, shapes = (
                tuple(tensor.name for tensor in inputs),
                tuple(t.shape for t in inputs),
            )
            trace, position = self.reporter.trace(), len(self.assembly.nodes)
            self.assembly.misfits.append(
                Misfit(str(op), values, shapes, error.code, error.message, span, trace, position)
            )

    def _doubt_input_size(self, op: Op, bound: Bound, call: syntax.Call, shape: Shape) -> None:
        """Warn of a call whose first number is most likely meant as the size of the input.

        `conv(3, 16, 3)` is legal: 3 filters of 16x16 with stride 3. So is `conv(3, 16)`.
        """
        if not op.is_unlikely():
            return
        size = shape[op.inferred_axis]
        argument = likely_input_size(op, bound) or two_numbers(op, bound, call, size)
        if argument is None or bound.positional[argument] != size:
            return
        reads = ", ".join(
            f"{name} = {each.value.span.text}"
            for name, each in zip(op.attributes(), bound.positional, strict=False)
        )
        message = f"is {size} the size of the input? `{op.name}` infers that, and reads `{reads}`"
        hints = tuple(input_size_hints(self.names.statements, op, bound, call, size))
        self.reporter.report(codes.CALL_INPUT_SIZE, message, argument.span, hints=hints)

    def _parameters_have_sizes(self, op: Op, specs: Sequence[ParameterSpec], span: Span) -> bool:
        """Check that no open size determines the shape of a parameter, which is the same for every
        picture.
        """
        for spec in specs:
            if is_known(spec.shape):
                continue
            names = sorted(names_in(spec.shape))
            one = names[0]
            help = f"make the size fixed first, by `global_avg_pool` say, or give {one} a number"
            batch = tuple(batch_hints(self.assembly, names))
            self.reporter.report(
                codes.SHAPE_OPEN_PARAMETER,
                f"{_named(op, spec)} would depend on {' and '.join(names)}",
                span,
                label=f"[{', '.join(map(str, spec.shape))}]",
                hints=batch or (Hint(help if spec.name else _LONGEST.format(one)),),
            )
            return False
        return True

    def _check_size(self, op: Op, shape: Shape, specs: Sequence[ParameterSpec], span: Span) -> None:
        is_plain = _PLAIN.issuperset(map(type, shape))
        if not is_plain and not are_short(shape):
            message = f"the formulas of the sizes that `{op.name}` leaves open are too long"
            self.reporter.report(
                codes.LIMIT_SIZE, message, span, hints=(Hint(open_help(*shape) or ""),)
            )
            raise StopBuildingError
        largest = elements(shape)
        if specs:
            largest = max(largest, *[elements(spec.shape) for spec in specs], 0)
        if largest > MAX_ELEMENTS:
            message = f"`{op.name}` makes an array of {largest:,} numbers"
            notes = (f"the limit is {MAX_ELEMENTS:,}, or 256 GiB in float32",)
            self.reporter.report(codes.LIMIT_SIZE, message, span, notes=notes)
            raise StopBuildingError
        if is_plain:
            return
        if any(isinstance(n, Size) and n.largest_number() > MAX_ELEMENTS for n in shape):
            message = (
                f"the result of `{op.name}` depends on an open size by a number that is too large"
            )
            notes = (f"the limit is {MAX_ELEMENTS:,}",)
            self.reporter.report(codes.LIMIT_SIZE, message, span, notes=notes)
            raise StopBuildingError

    def _tie(self, op: Op, spec: ParameterSpec, bound: Bound, shapes: Sequence[Shape]) -> bool:
        """Check that a layer can take a parameter of another one."""
        full, span = bound.tied[spec.name], bound.spans[spec.name]
        known = self.assembly.parameters
        other = known.get(full)
        what = _named(op, spec)
        if other is None:
            meant = suggest(full, known)
            hints = (Hint(f"did you mean `{meant}`?"),) if meant else ()
            message = f"no layer before this one has the parameter `{full}`"
            self.reporter.report(codes.LAYER_TIED, message, span, hints=hints)
        elif other.shape != spec.shape:
            message = f"{what} has the shape {list(spec.shape)}, and `{full}` {list(other.shape)}"
            self.reporter.report(codes.LAYER_TIED, message, span)
        elif not _has_module(op, shapes) or other.role != spec.role:
            self.reporter.report(codes.LAYER_TIED, f"{what} must be its own", span)
        else:
            return True
        return False

    def _hold(
        self,
        op: Op,
        full: str,
        spec: ParameterSpec,
        bound: Bound,
        span: Span,
        *,
        is_shared: bool,
    ) -> bool:
        """Add a parameter. One that an earlier call of a shared block made must fit this call too."""
        first = self.assembly.parameters.get(full) if is_shared else None
        if first is None:
            self._add_parameter(op, full, spec, bound, span)
            return True
        if first.shape == spec.shape:
            return True
        message = (
            f"{_named(op, spec)} has the shape {list(first.shape)} in the first call of the shared"
            f" block, and would have {list(spec.shape)} in this one"
        )
        self.reporter.report(codes.LAYER_SHARED_SHAPE, message, span)
        return False

    def _add_parameter(
        self, op: Op, full: str, spec: ParameterSpec, bound: Bound, span: Span
    ) -> None:
        rule = bound.initial.get(spec.name)
        where = bound.spans.get(spec.name, span)
        if rule is None and spec.role in self.rules:
            rule = self.rules[spec.role]
        rule = rule or spec.initializer
        misfit = rule.misfit(spec.shape)
        if misfit is not None:
            message = f"{_named(op, spec)} has the shape {list(spec.shape)}, {misfit}"
            self.reporter.report(codes.INIT_SHAPE, message, where)
            rule = spec.initializer
        parameter = Parameter(full, spec.shape, rule, spec.role, span)
        self.assembly.parameters[full] = parameter

    # -- shape errors

    def report_shape(
        self,
        error: ShapeError,
        op: Op,
        bound: Bound,
        inputs: Sequence[Tensor],
        call: syntax.Call,
        span: Span,
    ) -> None:
        """Report what is wrong with the shapes that a call gets, with hints on what may be meant."""
        primary = bound.spans.get(error.blame or "", span)
        if self.assembly.sink.knows(error.code, primary):
            self.reporter.report(error.code, error.message, primary)  # counts it as a repetition
            return
        callee = call.callee
        infix = call.span == callee.span and callee.span.text != callee.id and len(inputs) > 1
        message = error.message
        if infix:
            message = f"{quoted(call.span.text)} needs equal shapes"
        if len(inputs) == 1:
            label = f"gets {show_shape(inputs[0].shape)}"
            secondary: tuple[Label, ...] = ()
            before = inputs[0].span
            if before.line != primary.line and before.source is primary.source:
                secondary = (Label(before, show_shape(inputs[0].shape)),)
        else:
            label = f"{'left' if infix else 'the first'} is {show_shape(inputs[0].shape)}"
            secondary = tuple(
                Label(tensor.span, show_shape(tensor.shape))
                for tensor in inputs[1:]
                if tensor.span != primary
            )
        hints = tuple(input_hints(self.assembly, error.code))
        hints += tuple(
            input_size_hints(
                self.names.statements, op, bound, call, inputs[0].shape[op.inferred_axis]
            )
            if op.is_unlikely()
            else ()
        )
        suspect = any(is_doubtful(shape) for shape in self.assembly.inputs.values())
        for fix in () if suspect else error.fixes:  # they would adapt the layer to a wrong input
            hints += tuple(fix_hints(fix, bound.spans, call, span))
        if error.help:
            hints += (Hint(error.help, instead=bool(error.fixes)),)
        # A size of 1 is repeated by what takes a number in place of a value.
        repeats = bool(op.number_places)
        notes = (*error.notes, *_open_sizes([tensor.shape for tensor in inputs], repeats))
        if len(inputs) > 1:
            hints += self._branch_hints(op, [tensor.name for tensor in inputs], call)
        self.reporter.report(
            error.code, message, primary,
            label=label, secondary=secondary, notes=notes, hints=hints,
        )  # fmt: skip

    def _branch_hints(self, op: Op, values: Sequence[str], call: syntax.Call) -> tuple[Hint, ...]:
        """Return hints for values whose shapes should be equal."""
        hints = tuple(branch_hints(self.assembly, values))
        shortcut = shortcut_hint(self.assembly, op, values, call, self.reporter.trace())
        if shortcut is None:
            return hints
        # What names no change says less than the shortcut does.
        return (shortcut, *(hint for hint in hints if hint.edits))


def _has_module(op: Op, shapes: Sequence[Shape]) -> bool:
    """Whether a module of PyTorch holds the parameters of a layer."""
    try:
        return op.torch(*shapes).module is not None
    except NoTorchFormError:
        return False


def _open_sizes(shapes: Sequence[Shape], repeats: bool) -> list[str]:
    """Return notes on open sizes that would have to equal a number in another value's shape."""
    pairs = [
        pair
        for other in shapes[1:]
        if len(other) == len(shapes[0])
        for pair in zip(shapes[0], other, strict=True)
    ]
    notes: list[str] = []
    for one, two in pairs:
        size, number = (two, one) if isinstance(one, int) else (one, two)
        if not isinstance(size, int) and isinstance(number, int) and not (repeats and number == 1):
            notes.append(f"{size} would have to be {number}, and is left open")
    return list(dict.fromkeys(notes))


def _named(op: Op, spec: ParameterSpec) -> str:
    """Return what a parameter is called in messages."""
    return f"the `{spec.name}` of this `{op.name}`" if spec.name else f"this `{op.name}`"
