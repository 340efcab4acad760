"""Assembles the text of a standalone file from a graph."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields

import numpy as np

from netspec import codes
from netspec.compiler.ir.graph import Graph, Parameter, show_shape
from netspec.compiler.ir.plan import Buffer
from netspec.compiler.numpy_backend.emit import file_name
from netspec.compiler.numpy_backend.passes.plan_memory import plan_memory
from netspec.compiler.numpy_backend.statements import in_docstring, plain
from netspec.compiler.passes.bind_sizes import open_sizes
from netspec.compiler.passes.layer_limit import require_few_in_a_file
from netspec.diagnostics import NetspecError
from netspec.export.linker import Names, imports, in_order, sections
from netspec.export.literals import WIDTH, filled, items
from netspec.export.programs import Made, Programs, make_programs, outside
from netspec.export.source_units import SourceModule, Target, Unit, closure, module
from netspec.runtime.models.classifier_shape import has_probabilities, label_count, scores_output
from netspec.runtime.models.inputs import whole_limits

BASE = "netspec.export.runtime_class"
PROGRAM = ("netspec.export.memory", "Program")
SET_THREADS = ("netspec.kernels.parallel", "set_threads")
THREADS = ("netspec.kernels.parallel", "threads")
INITIALIZERS = "netspec.compiler.ir.initializers"

# Linear algebra libraries read these when they are loaded.
BLAS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

# The names that the file itself defines or imports at its top.
TAKEN = {"os", "sys", "warnings", "np", "annotations", "BLAS", "BLAS_IS_HELD", "use_threads"}


# The largest weights file that is written into a program: more would make it slow to open.
MAX_WEIGHTS = 8 << 20


def standalone_source(
    graph: Graph,
    *,
    training: bool = True,
    without: Collection[str] = (),
    weights: bytes | None = None,
) -> str:
    """Return the text of a file that needs only NumPy.

    Args:
        graph: a checked graph whose sizes are all known.
        training: True to include the backward pass; False for inference, where what depends only on
            the parameters is computed once.
        without: names of passes to leave out.
        weights: a safetensors file, which the file then holds; at most `MAX_WEIGHTS` bytes.

    Raises:
        NetspecError: `compile/standalone` for a net that cannot be exported, or with too many
            weights; `limit/layers`.
    """
    if weights is not None and len(weights) > MAX_WEIGHTS:
        raise NetspecError.simple(
            codes.COMPILE_STANDALONE,
            f"the weights of {graph.name} are {len(weights) / 1e6:,.0f} MB, and a standalone file holds"
            f" up to {MAX_WEIGHTS / 1e6:.0f} MB of them",
            "--target c or onnx writes them; or leave them out, and call load_weights in Python",
        )
    require_few_in_a_file(graph)
    _require(graph, training)
    programs = make_programs(graph, training=training, without=without)
    base: Target = (BASE, "TrainedNetwork" if training else "Network")
    start = [base, PROGRAM, SET_THREADS, THREADS, *_targets(programs)]
    start += [(INITIALIZERS, type(p.initializer).__name__) for p in graph.parameters.values()]
    units = closure(programs.modules, start)
    names = Names(units, TAKEN, graph.name)
    modules = in_order([*_modules(units, programs)])
    parts = [
        *sections(modules, units, names),
        _threads(names),
        _network(graph, programs, names, names[base]),
    ]
    if weights is not None:
        parts.append(_weights(names.net, weights))
    holds = weights is not None
    return (
        _head(graph, units, training, names.net, holds=holds) + "\n\n" + "\n\n\n".join(parts) + "\n"
    )


def _require(graph: Graph, training: bool) -> None:
    if open_sizes(graph):
        sizes = " ".join(f"--set {name}=..." for name in sorted(open_sizes(graph)))
        raise NetspecError.simple(
            codes.COMPILE_STANDALONE,
            f"{graph.name} leaves the size of its input open; a standalone file is for one size",
            f"give it: {sizes}",
        )
    if training:
        try:
            label_count(graph)
        except NetspecError as error:
            reason = error.diagnostics[0].message
            help = "--inference makes a file without training"
            raise NetspecError.simple(codes.COMPILE_STANDALONE, reason, help) from None


def _targets(programs: Programs) -> Iterator[Target]:
    for made in (programs.evaluation, programs.training):
        if made is not None:
            yield made.scratch
            yield from (made.function(name) for name in _functions(made))
    if programs.once is not None:
        yield programs.once


def _functions(made: Made) -> list[str]:
    plan = made.plan
    has = {"sample": plan.sample, "forward": True, "backward": plan.output_gradients}
    return [name for name, there in has.items() if there]


def _modules(units: Sequence[Unit], programs: Programs) -> Iterator[SourceModule]:
    for name in sorted({unit.module for unit in units}):
        yield programs.modules.get(name) or module(name)


# -------------------------------------------------------------------------------------- the parts


def _weights(name: str, weights: bytes) -> str:
    """Return the statement that gives the class its weights."""
    text = base64.b64encode(weights).decode()
    lines = [text[at : at + WIDTH] for at in range(0, len(text), WIDTH)]
    return "\n".join(
        [
            "# The trained weights: a safetensors file in base64.",
            f'{name}.held = """',
            *lines,
            '"""',
        ]
    )


def _head(graph: Graph, units: Sequence[Unit], training: bool, name: str, *, holds: bool) -> str:
    source = in_docstring(file_name(graph))
    needed = {each for unit in units for each in unit.imports}
    needed |= {("os", "", ""), ("sys", "", ""), ("warnings", "", ""), ("numpy", "", "np")}
    needed -= {("__future__", "annotations", "")}
    standard, numpy = imports(needed)
    variables = ", ".join(f'"{name}"' for name in BLAS)
    return "\n".join(
        [
            f'"""{graph.name} in one file that needs NumPy alone, made by netspec from {source}.',
            "",
            *_usage(graph, training, name, holds=holds),
            "",
            "The network itself is the class at the end.",
            '"""',
            "",
            "# ruff: noqa: D400, D415, E402",
            "",
            "from __future__ import annotations",
            "",
            *standard,
            "",
            "# The kernels bring threads of their own, so the library of linear algebra gets one. It",
            "# reads this when NumPy is loaded; where that has happened, the kernels do without theirs.",
            "BLAS = (",
            filled(variables + ",", 4),
            ")",
            'BLAS_IS_HELD = "numpy" not in sys.modules or "1" in map(os.environ.get, BLAS)',
            "for _variable in BLAS:",
            '    os.environ.setdefault(_variable, "1")',
            "",
            *numpy,
        ]
    )


def _usage(graph: Graph, training: bool, name: str, *, holds: bool) -> list[str]:
    inputs = ", ".join(f"{i} {graph.show_input(i)}" for i in graph.inputs)
    outputs = ", ".join(f"{o} {show_shape(graph.shape_of(v))}" for o, v in graph.outputs.items())
    lines = [f"Inputs: {inputs}. Outputs: {outputs}.", ""]
    load = '    net.load_weights("weights.safetensors")  # of this file, or of `netspec train`'
    if holds:
        lines += [
            f"    net = {name}()  # with the trained weights, which are at the end of this file"
        ]
        load = '    net.load_weights("weights.safetensors")  # others'
    if training:
        lines += [] if holds else [f"    net = {name}(seed=0)"]
        lines += [
            "    for x, y in batches:                     # arrays, and whole numbers from 0",
            "        loss = net.train_step(x, y, lr=0.1)  # plain SGD; or with the gradients:",
            "        loss, gradients = net.loss_and_grads(x, y)",
            '    net.save_weights("weights.safetensors")',
        ]
    elif not holds:
        lines += [f"    net = {name}()"]
    given = "images as" if len(graph.inputs) == 1 else "a dict by input, as"
    return [
        *lines,
        load,
        f"    net.predict(images)                      # classes; {given} they were in training,",
        "    net.predict_proba(images)                # [N, classes]; net.class_names says which",
        "    net.forward(net.normalized(images))      # the outputs; training takes such numbers too",
    ]


def _threads(names: Names) -> str:
    return _THREADS.format(set_threads=names[SET_THREADS], threads=names[THREADS])


_THREADS = '''\
def use_threads(count: int) -> None:
    """Let the kernels use so many threads, in place of one for each processor.

    Where NumPy was loaded before this file, its linear algebra has threads of its own: a warning
    says so, for the two get in each other's way.
    """
    if count > 1 and not BLAS_IS_HELD:
        message = (
            "NumPy was loaded first, and its linear algebra uses threads of its own:"
            " import this file before NumPy, or start Python with OPENBLAS_NUM_THREADS=1"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    {set_threads}(count)


if not BLAS_IS_HELD:
    if "NETSPEC_NUM_THREADS" in os.environ:
        use_threads({threads}())
    else:
        {set_threads}(1)'''


def _network(graph: Graph, programs: Programs, names: Names, base: str) -> str:
    doc = plain(" ".join(graph.doc.split())) or f"The net {graph.name}."
    drawn = [_drawn(p, names) for p in graph.parameters.values()]
    lines = [
        f"class {names.net}({base}):",
        *_docstring(doc),
        "",
        f"    inputs: ClassVar = {_mapping(graph.inputs)}",
    ]
    if whole := {name: _limits(graph, name, each) for name, each in whole_limits(graph).items()}:
        lines.append(f"    whole: ClassVar = {_mapping(whole)}")
    if programs.training is not None:
        lines.append(f'    scores: ClassVar = "{scores_output(graph)}"')
    if has_probabilities(graph):
        lines.append("    gives_probabilities: ClassVar = True")
    lines.append(f"    drawn: ClassVar = {items(drawn, 4)}")
    lines.append(f"    evaluation: ClassVar = {_program(programs.evaluation, names)}")
    if programs.training is not None:
        lines.append(f"    training: ClassVar = {_program(programs.training, names)}")
    if programs.once is not None:
        lines.append(
            f"    prepared: ClassVar = {_mapping({b.name: b.shape for b in programs.prepared})}"
        )
        lines.append(f"    prepare = staticmethod({names[programs.once]})")
    return "\n".join(lines)


def _limits(graph: Graph, name: str, limits: object) -> object:
    """Return the limits of an input's whole numbers, see `Network.whole`: an array as lists, with one
    limit along axes on which all are equal.
    """
    if not isinstance(limits, np.ndarray):
        return limits
    if graph.input_types.get(name) == "int":
        limits = np.where(limits == 0, -1, limits)
    for axis in range(limits.ndim):
        first = limits.take([0], axis)
        if (limits == first).all():
            limits = first
    return limits.tolist()


def _docstring(doc: str) -> list[str]:
    text = filled(doc, 4).strip().rstrip(".") + "."
    first, *rest = text.split("\n")
    return [f'    """{first}"""'] if not rest else [f'    """{first}', *rest, '    """']


def _drawn(parameter: Parameter, names: Names) -> str:
    rule = parameter.initializer
    given = ", ".join(repr(getattr(rule, f.name)) for f in fields(rule))
    made = f"{names[INITIALIZERS, type(rule).__name__]}({given})"
    return f'("{parameter.name}", {parameter.shape!r}, {made}, "{parameter.role}")'


def _mapping(shapes: Mapping[str, object]) -> str:
    pairs = [f'"{name}": {shape!r}' for name, shape in shapes.items()]
    text = "{" + ", ".join(pairs) + "}"
    if len(text) < 70:
        return text
    return "{\n" + "".join(f"        {pair},\n" for pair in pairs) + "    }"


def _program(made: Made, names: Names) -> str:
    plan = made.plan
    memory = plan_memory(plan)
    stores = [
        f"({s.first}, {s.last}, ({''.join(f'{_buffer(b)}, ' for b in s.buffers).rstrip()}))"
        for s in memory.storages
    ]
    rows = [f"{name}={names[made.function(name)]}" for name in _functions(made)]
    rows += [f"scratch={names[made.scratch]}"]
    for title in ("inputs", "outputs", "output_gradients"):
        buffers = getattr(plan, title)
        if buffers:
            rows.append(f"{title}={_mapping({n: _Bare(b.name) for n, b in buffers.items()})}")
    rows.append(f"outside={items([_buffer(b) for b in outside(plan, memory)], 8)}")
    rows.append(f"arena={items(stores, 8)}")
    return f"{names[PROGRAM]}(\n" + "".join(f"        {row},\n" for row in rows) + "    )"


def _buffer(buffer: Buffer) -> str:
    return f'("{buffer.name}", {buffer.shape!r}, {buffer.batched})'


class _Bare(str):
    """A string whose repr is in double quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f'"{self}"'
