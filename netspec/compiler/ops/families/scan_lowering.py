"""From the plan of one step to the kernels that run it over a sequence, and back over it.

What backward reads of a step is held for each of them, and all else once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.expression import total as total_of
from netspec.compiler.ir.plan import Buffer, GradientRef, Loop, Operand, Plan, Step, ViewStep
from netspec.compiler.ir.scan_body import RESULT, ScanBody

_SINGLE, _STACKED, _UNBATCHED = 0, 1, 2


@dataclass
class ScanLowering:
    """Lowers the layer of a scan block, for the step `graph` with the sizes that it has here."""

    to: Lowering
    body: ScanBody
    graph: Graph

    @cached_property
    def _plan(self) -> Plan:
        return self.to.inner(self.graph)

    @cached_property
    def _sources(self) -> dict[Buffer, Operand]:
        """What each view is a view of."""
        steps = (s for s in self._plan.steps if isinstance(s, ViewStep))
        return {step.output: step.source for step in steps}

    def _owner(self, operand: Operand) -> Buffer | None:
        """Return the buffer that owns an operand's memory; None for a parameter or its gradient."""
        while isinstance(operand, Buffer) and operand in self._sources:
            operand = self._sources[operand]
        return operand if isinstance(operand, Buffer) else None

    # -- what is held

    @cached_property
    def _read_back(self) -> dict[Operand, None]:
        """What backward reads, and forward has computed or was given."""
        plan, found = self._plan, dict[Operand, None]()
        own: set[Operand] = set(plan.output_gradients.values())
        for step in plan.backward:
            found |= dict.fromkeys(operand for operand in step.reads if operand not in own)
            own |= set(step.writes)
        return found

    @cached_property
    def _views_back(self) -> tuple[Step, ...]:
        """The views of forward that backward reads, to be made again."""
        left = list(self._read_back)
        wanted = set[Operand]()
        while left:
            operand = left.pop()
            if isinstance(operand, Buffer) and operand in self._sources and operand not in wanted:
                wanted.add(operand)
                left.append(self._sources[operand])
        views = (s for s in self._plan.forward if isinstance(s, ViewStep))
        return tuple(step for step in views if step.output in wanted)

    @cached_property
    def _kept(self) -> set[Buffer]:
        """The buffers of which each step has its own: states, and what backward reads."""
        owners = {self._owner(operand) for operand in self._read_back}
        states = {self._plan.inputs[state.name] for state in self.body.states}
        return {buffer for buffer in owners if buffer is not None} | states

    def _held(self, buffer: Buffer) -> tuple[Buffer, int]:
        """Return the array that holds a buffer of the step, and how."""
        for value, name in zip(self.to.x[1:], self.body.given[1:], strict=True):
            if buffer == self._plan.inputs[name]:
                return value, _SINGLE
        name = f"step.{buffer.name}"
        if buffer not in self._kept:
            return self.to.buffer(name, buffer.shape, batched=buffer.batched), _SINGLE
        steps = self.to.x_shapes[0][0]
        kind = _STACKED if buffer.batched else _UNBATCHED
        return self.to.buffer(name, (steps, *buffer.shape), batched=buffer.batched), kind

    def _buffers(self, steps: Iterable[Step], more: Iterable[Buffer]) -> list[Buffer]:
        """Return the buffers that steps use, and more, each once."""
        found = dict.fromkeys(more)
        for step in steps:
            owners = (self._owner(operand) for operand in (*step.writes, *step.reads))
            found |= dict.fromkeys(buffer for buffer in owners if buffer is not None)
        return list(found)

    # -- kernels

    def forward(self) -> None:
        """Append the kernels that compute the value."""
        to, plan, states = self.to, self._plan, self.body.states
        before = [plan.inputs[state.name] for state in states]
        for state, buffer in zip(states, before, strict=True):
            stack, _ = self._held(buffer)
            given, value = None, 0.0
            if isinstance(state.start, str):
                given = to.x[self.body.given.index(state.start)]
            else:
                value = state.start
            to.call("scan.begin", given, stack, writes=[stack], value=value)
        item = plan.inputs[self.body.given[0]]
        buffers = self._buffers(plan.forward, [item, *before])
        held = [self._held(buffer) for buffer in buffers]
        to.call(
            "scan.forward", to.x[0], to.out, *(array for array, _ in held),
            writes=[to.out, *(array for array, _ in held if array not in to.x)],
            loop=Loop("forward", plan.forward, plan.nodes),
            names=tuple(buffer.name for buffer in buffers), kinds=tuple(kind for _, kind in held),
            item=item.name, result=plan.outputs[RESULT].name,
            before=tuple(buffer.name for buffer in before),
            after=tuple(plan.outputs[state.name].name for state in states),
        )  # fmt: skip

    def backward(self) -> None:
        """Append the kernels that compute the gradients."""
        to, plan, body = self.to, self._plan, self.body
        given, gradients = body.given, plan.input_gradients
        dafter = [plan.output_gradients[state.name] for state in body.states]
        dstates = [
            to.buffer(f"d{state.name}", buffer.shape)
            for state, buffer in zip(body.states, dafter, strict=True)
        ]
        dx = to.gradient_buffer(0) if to.wanted[0] and given[0] in gradients else None
        wanted = [name for i, name in enumerate(given) if i and to.wanted[i] and name in gradients]
        dwhole = {name: to.buffer(f"d{name}", gradients[name].shape) for name in wanted}
        written = {
            operand.name
            for step in plan.backward
            for operand in step.writes
            if isinstance(operand, GradientRef)
        }
        totals: list[Buffer | GradientRef] = []
        parts: list[Buffer] = []
        for full, parameter in self.graph.parameters.items():
            if not parameter.trainable:
                continue
            total = to.parameter_gradient(body.local(full))
            if full in written:
                totals.append(total)
                parts.append(to.buffer(f"step.d({full})", parameter.shape, batched=False))
            else:
                to.call("scan.zero", total, writes=[total])
        trained = tuple(full for full in self.graph.parameters if full in written)
        steps = (*self._views_back, *plan.backward)
        ends = [*plan.output_gradients.values(), *(gradients[name] for name in wanted)]
        owners = [owner for end in ends if (owner := self._owner(end)) is not None]
        buffers = self._buffers(steps, owners)
        held = [self._held(buffer) for buffer in buffers]
        saved = {array for buffer, (array, _) in zip(buffers, held, strict=True)
                 if buffer in self._kept or array in to.x}  # fmt: skip
        results = [*dstates, *dwhole.values(), *totals, *parts]
        own = [array for array, _ in held if array not in saved]
        to.call(
            "scan.backward", to.dy, dx, *results, *(array for array, _ in held),
            writes=[dx, *results, *own],
            loop=Loop("backward", steps, plan.nodes),
            names=tuple(buffer.name for buffer in buffers), kinds=tuple(kind for _, kind in held),
            ditem=gradients[given[0]].name if dx is not None else "",
            dresult=plan.output_gradients[RESULT].name,
            dafter=tuple(buffer.name for buffer in dafter),
            dbefore=tuple(
                gradients[state.name].name if state.name in gradients else ""
                for state in body.states
            ),
            dwhole=tuple(gradients[name].name for name in wanted), trained=trained,
        )  # fmt: skip
        if to.wanted[0]:
            self._set(0, [] if dx is None else [dx])
        for i, name in enumerate(given[1:], 1):
            if to.wanted[i]:
                starts = (d for d, s in zip(dstates, body.states, strict=True) if s.start == name)
                self._set(i, [*([dwhole[name]] if name in dwhole else []), *starts])

    def _set(self, index: int, parts: Sequence[Buffer]) -> None:
        """Set the gradient of an input, which is a sum."""
        to = self.to
        if len(parts) == 1:
            to.gradient(index, parts[0])
            return
        total = to.gradient_buffer(index)
        if parts:
            names = [f"d{i}" for i in range(len(parts))]
            formula = total_of([Var(name) for name in names])
            to.elementwise(total, formula, **dict(zip(names, parts, strict=True)))
        else:
            to.call("scan.zero", total, writes=[total])
        to.gradient(index, total)
