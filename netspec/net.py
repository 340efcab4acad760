"""A checked network, as returned by `netspec.load`."""

from __future__ import annotations

import operator
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, overload

from netspec import codes
from netspec.compiler.driver import (
    Compilation,
    Request,
    compile_request,
    select,
    written,
)
from netspec.compiler.elaborate.written import Written
from netspec.compiler.ir.graph import Graph
from netspec.compiler.parse.shipped_nets import find_net
from netspec.compiler.passes.layer_limit import require_few_layers, require_few_rows
from netspec.diagnostics import Diagnostic, NetspecError, Source
from netspec.files.run_facts import RUN_FACTS

if TYPE_CHECKING:
    from netspec.compiler.analysis.costs import Summary
    from netspec.compiler.analysis.diff import GraphDiff
    from netspec.draw.drawing import Drawing
    from netspec.runtime.models.engines import Engine
    from netspec.runtime.models.numpy_model import Model
    from netspec.runtime.models.pytorch.model import TorchModel


class Net:
    """A network that was checked: its graph, and methods that compile or summarize it.

    A net is immutable: threads may share it, and it can be copied and pickled.

    Attributes:
        graph: the operations in order, with shapes and source spans.
        written: the syntax it was built from, with blocks, loops and arguments.
        warnings: diagnostics of what is legal but suspicious.
    """

    def __init__(
        self, graph: Graph, written: Written, warnings: tuple[Diagnostic, ...] = ()
    ) -> None:
        self.graph = graph
        self.written = written
        self.warnings = warnings

    @property
    def name(self) -> str:
        """The net's name in the file."""
        return self.graph.name

    def summary(self, batch: int = 1, *, columns: str | Sequence[str] | None = None) -> Summary:
        """Return layers, shapes, parameters, MACs and memory; `print` shows them as a table.

        Args:
            batch: the images in a batch, for the memory.
            columns: those of the table, `"all"` or names such as `["name", "params", "field"]`, as
                `netspec summarize --columns` takes them.

        Raises:
            NetspecError: `limit/layers`, `usage/column`.
        """
        from netspec.compiler.analysis.costs import summarize

        require_few_rows(self.graph)
        # NumPy integers are accepted, too.
        found = summarize(self.graph, operator.index(batch))
        if columns is None:
            return found
        from netspec.compiler.analysis.costs_text import chosen_columns

        text = columns if isinstance(columns, str) else ",".join(columns)
        return replace(found, columns=chosen_columns(text, "columns"))

    @property
    def text(self) -> str:
        """The text of the file, or of the notebook's cell, that the net was read from."""
        return self.written.module.source.text

    def save(self, path: str | Path, /) -> None:
        """Write the text of the net to a `.net` file; `netspec fmt` gives it the canonical style.

        A file that it imports is not copied.

        Raises:
            NetspecError: `output/unwritable`.
        """
        from netspec.runtime.weights.atomic_write import told_plainly
        from netspec.runtime.weights.output_file import write_output

        with told_plainly(Path(path)):
            write_output(Path(path), (self.text.rstrip("\n") + "\n").encode())

    def diff(self, other: Net, /, *, ignore: str | Collection[str] = ()) -> GraphDiff:
        """Return how another net differs, layer by layer; `print` shows it, `.equal` is the verdict.

        Args:
            other: the net after the change.
            ignore: what not to compare: `"init"`, the initial values, `"names"`, those of values,
                labels, inputs, outputs, nets and blocks, or several of these.

        Raises:
            NetspecError: `usage/diff` for another word; `limit/layers`.
        """
        from netspec.compiler.analysis.diff import compare, ignorable

        return compare(self.graph, other.graph, frozenset(ignorable(ignore)))

    def draw(self, path: str | Path | None = None, /, *, depth: int | None = None) -> Drawing:
        """Return a picture of the net, which a notebook shows.

        Args:
            path: a file to write it to as well: `.svg`, `.pdf`, `.html`, `.mmd` (Mermaid), `.dot`
                (Graphviz) or `.png`.
            depth: how deep blocks are opened; 0 leaves all closed. By default as deep as there are
                not too many boxes.

        Raises:
            NetspecError: `usage/picture`, `library/resvg`, `output/unwritable`, `limit/layers`.
        """
        from netspec.compiler.elaborate.sketch import Sketch
        from netspec.draw.drawing import Drawing

        require_few_layers(self.graph)
        drawing = Drawing(Sketch(self.graph), depth)
        if path is not None:
            from netspec.runtime.weights.atomic_write import told_plainly
            from netspec.runtime.weights.output_file import write_output

            data = drawing.encoded(Path(path))
            with told_plainly(Path(path)):
                write_output(Path(path), data)
        return drawing

    @overload
    def compile(
        self, target: Literal["numpy"] = "numpy", *, dtype: str = ..., seed: int = ...
    ) -> Model: ...

    @overload
    def compile(self, target: Literal["c"], *, dtype: str = ..., seed: int = ...) -> Model: ...

    @overload
    def compile(
        self, target: Literal["torch"], *, dtype: str = ..., seed: int = ..., device: str = ...
    ) -> TorchModel: ...

    def compile(
        self, target: str = "numpy", *, dtype: str = "float32", seed: int = 0, device: str = "cpu"
    ) -> Model | TorchModel:
        """Compile to a model that runs.

        Initial values are drawn from `seed`, the same for every target.

        Args:
            target: `numpy`; `c` for machine code that the C compiler of this machine makes when it is
                first needed; `torch` for the generated module (`.module`) with the same methods, but for
                `predictor` and the flat arrays of all parameters and gradients.
            dtype: `float32` or `float64`.
            seed: the seed of the initial values.
            device: for PyTorch: `cpu`, `cuda` or `auto`.

        Raises:
            NetspecError: for an unknown target or dtype, or if PyTorch is not installed; for C
                `compile/no-compiler`, and `compile/no-c` with each layer that has no form in C.
        """
        _check_target(target, ("numpy", "torch", "c"))
        if target == "torch":
            from netspec.runtime.models.torch_build import build_module

            module = build_module(self, dtype=dtype, seed=seed)
            from netspec.runtime.models.pytorch.device import Execution, choose_device
            from netspec.runtime.models.pytorch.model import TorchModel
            from netspec.runtime.models.pytorch.processes import ProcessGroup

            execution = Execution(choose_device(device, ProcessGroup()))
            model = TorchModel(self.graph, module, execution, dtype)
            model.arguments = self.written.arguments
            return model
        from netspec.runtime.models.numpy_model import Model

        made = Model(self.graph, dtype=dtype, seed=seed, engine=_engine(target, self.graph))
        made.arguments = self.written.arguments
        return made

    def source(
        self,
        target: str = "numpy",
        *,
        training: bool = True,
        without: Collection[str] = (),
        plain: bool = False,
        source_notes: bool = True,
    ) -> str:
        """Return the generated program as source text.

        Args:
            target: `numpy`, `torch` or `c`.
            training: for NumPy and C: True for a program with the backward pass, False for only the
                forward pass in evaluation mode. A C file has the initial values of seed 0;
                `netspec compile` writes files with trained weights.
            without: for NumPy: names of passes to leave out.
            plain: for NumPy: a form to learn from, without any pass and with formulas written out.
            source_notes: for PyTorch: whether comments say where in the file a statement is from.

        Raises:
            NetspecError: for an unknown target, a net that cannot be expressed in it, or one with
                too many layers.
        """
        _check_target(target, ("numpy", "torch", "c"))
        if target == "c":
            return _c_text(self.graph, training)
        if target == "torch":
            from netspec.compiler.torch_backend import torch_source
            from netspec.compiler.torch_backend.source_notes import without_notes

            require_few_layers(self.graph)
            source = torch_source(self.written)
            return source if source_notes else without_notes(source)
        from netspec.compiler.numpy_backend.source import numpy_source

        return numpy_source(
            self.graph, training=training, backward=training, without=without, plain=plain
        )

    def __call__(self, *values: object) -> NoReturn:
        """Raise an error: a net is a description, and only the model it compiles to can be called.

        Raises:
            NetspecError: `model/not-compiled`, always.
        """
        raise NetspecError.simple(
            codes.MODEL_NOT_COMPILED,
            f"{self.name} is a net, which describes layers; only a compiled model can be called",
            "compile it: model = net.compile(), then model(x)",
        )

    def __repr__(self) -> str:
        return f"<netspec.Net {self.name}>"

    def _repr_html_(self) -> str:
        """Show the picture and the table of layers in a notebook."""
        from netspec.text import html

        summary = self.summary()
        count = f"{self.name}: {len(summary.layers):,} layers, {summary.parameters:,} parameters"
        picture = html.folded(count, self.draw().svg(), is_open=True)
        return picture + html.folded("layers", summary._repr_html_())

    def __str__(self) -> str:
        return str(self.graph)


def load(path: str | Path, /, net: str | None = None, **arguments: Any) -> Net:
    """Read and check a `.net` file.

    Args:
        path: the file, or the name of a net that comes with netspec, such as `zoo/resnet18`. An
            existing file takes precedence.
        net: which net, if the file has several.
        arguments: values for the net's arguments: numbers, bools, strings, lists of them.

    Raises:
        NetspecError: with every error of the file in `.diagnostics`; `file/unreadable` for the folder of
            a run, which `netspec.load_run` opens.
    """
    if os.path.isfile(os.path.join(path, RUN_FACTS)):
        message = f"{path} is a run, not a .net file"
        help = f'netspec.load_run("{path}") opens it, with its net, its weights and its data'
        raise NetspecError.simple(codes.FILE_UNREADABLE, message, help)
    return checked(Request(path=find_net(path), net=net, arguments=constants(arguments)))


def loads(text: str, /, net: str | None = None, *, name: str = "<text>", **arguments: Any) -> Net:
    """Check a net given as text; otherwise like `load`. Text cannot import files."""
    return checked(Request(source=Source(name, text), net=net, arguments=constants(arguments)))


def load_ops(path: str | Path, /) -> tuple[str, ...]:
    """Run a Python file that defines ops, so that `.net` files can `use` them.

    A `.net` file alone never runs code: this call, or `--ops` on the command line, is what allows
    it. Call it in every process that checks such a net or unpickles one.

    Args:
        path: the file, written like one of netspec's own ops.

    Returns:
        The names of its ops.

    Raises:
        NetspecError: `file/unreadable`; `use/file` if the file fails, defines no op or a bad one, or
            has the name of another file of ops.
    """
    from netspec.compiler.parse.op_files import load_ops as load

    return tuple(load(path).ops)


def checked(request: Request) -> Net:
    """Return the one net of a request.

    Raises:
        NetspecError: with every error of the file in `.diagnostics`.
    """
    if request.net is not None and not isinstance(request.net, str):
        raise NetspecError.simple(
            codes.CALL_VALUE,
            f"`net` must be the name of a net, a string, not {type(request.net).__name__}",
            "no net has an argument of that name: `net` is a keyword of the language",
        )
    result: Compilation = compile_request(request)
    graph = select(result, request.net)
    warnings = tuple(d for d in result.diagnostics if d.severity == "warning")
    return Net(graph, written(result, request, graph.name), warnings)


def constants(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Convert Python values to constants of the language.

    Raises:
        NetspecError: `call/value`.
    """

    def convert(name: str, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return tuple(convert(name, item) for item in value)
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a NumPy number
            return value.item()
        raise NetspecError.simple(
            codes.CALL_VALUE,
            f"`{name}` must be a number, a bool, a string or a list, not {type(value).__name__}",
        )

    return {name: convert(name, value) for name, value in arguments.items()}


def _c_text(graph: Graph, training: bool) -> str:
    """Return the text of a C file with initial values.

    Raises:
        NetspecError: `compile/no-c`, also if the values are too many for constants.
    """
    from netspec.compiler.c_backend.emit import COptions, c_source
    from netspec.compiler.c_backend.train_file import TrainOptions, train_source
    from netspec.runtime.models.numpy_model import Model
    from netspec.runtime.weights.digest import initial_digest

    model = Model(graph, dtype="float64")
    parameters, digest = model.parameters, initial_digest(model.state_dict())
    about = ("The weights are the initial values of seed 0.",)
    if training:
        source = train_source(graph, parameters, TrainOptions(about=about))
    else:
        source = c_source(graph, parameters, COptions(about=about, digest=digest))
    if source.weights is not None:
        raise NetspecError.simple(
            codes.COMPILE_NO_C,
            f"the weights of {graph.name} are a file of their own, beside the C file",
            "netspec compile --target c -o OUT writes both",
        )
    return source.text


def _engine(target: str, graph: Graph) -> Engine:
    """Return what computes a model.

    Raises:
        NetspecError: `compile/no-compiler`, `compile/no-c`.
    """
    from netspec.runtime.models.engines import NativeEngine, NumpyEngine

    if target == "numpy":
        return NumpyEngine()
    from netspec.runtime.engine.native.require import require_c

    require_c(graph)
    return NativeEngine()


def _check_target(target: str, known: tuple[str, ...]) -> None:
    if target not in known:
        message = f"there is no target {target!r}"
        raise NetspecError.simple(codes.COMPILE_TARGET, message, " or ".join(known))
