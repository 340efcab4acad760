"""A PyTorch module as the text of a `.net` file, proved to compute the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netspec import codes
from netspec.compiler.parse.tree_builder import KEYWORDS
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.imports.aten_table import aten_table
from netspec.imports.idioms import with_idioms
from netspec.imports.imported_text import ImportedText
from netspec.imports.problems import told
from netspec.imports.proof import (
    CheckedText,
    closed,
    compared,
    random_inputs,
    require_same_names,
)
from netspec.imports.sound_text import sound_text
from netspec.imports.torch_front.calling import Calling
from netspec.imports.torch_front.export import exported
from netspec.imports.torch_front.own_lines import innermost_own
from netspec.imports.torch_front.read_graph import ReadGraph, read_graph
from netspec.imports.torch_front.returned_names import with_returned_names
from netspec.imports.torch_front.training_step import training_step
from netspec.imports.training_proof import TrainingDifference, training_difference
from netspec.runtime.models.torch_build import require_torch
from netspec.text.free_name import take_name

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn
    from torch.export import ExportedProgram

    from netspec.tools.agreement.case import Trial

    Arrays = dict[str, NDArray[Any]]

Proof = Literal["outputs", "full"]

_NOWHERE = "the model itself"
_EVALUATION = "the trace in training cannot be expressed: this is evaluation's"


def import_torch(
    module: nn.Module,
    example: Mapping[str, torch.Tensor],
    *,
    name: str = "",
    program: ExportedProgram | None = None,
    doc: Sequence[str] = (),
    prove: Proof = "outputs",
    fresh: Mapping[str, torch.Tensor] | None = None,
) -> ImportedText:
    """Import a module.

    Args:
        module: the module, which is not changed.
        example: a batch of two for each input, by the names that the net's inputs get.
        name: the net's name; by default that of the class.
        program: a trace of it, if that is all there is: it is then not traced again.
        doc: lines of the comment above the net.
        prove: what is compared before it is given: `outputs` in evaluation with the model's weights
            and in training with random ones, or `full`, the gradients in training too.
        fresh: the state dict before trained weights were loaded, which initial values are taken from;
            by default the model's own.

    Raises:
        NetspecError: `import/module` if it cannot be traced; `import/inexpressible`, one for each
            operator; `import/differs`.
    """
    name = name or _pascal(type(module).__name__)
    _require_tensors(example)
    _require_single(module)
    calling = Calling.of(module, list(example))
    if program is None:
        calling.require_taken(module, list(example))
    inputs = _input_names(list(example), {*dict(module.named_children())})
    renamed = [(old, new) for old, new in zip(example, inputs, strict=True) if old != new]
    example = dict(zip(inputs, example.values(), strict=True))
    read, notes = _read(module, example, calling, name, program, fresh)
    notes += [f"the model's input `{old}` is called `{new}` here" for old, new in renamed]
    unread = sorted(set(_state(module)) - read.read - set(read.tied))
    if unread:
        shown = ", ".join(unread[:5]) + (", ..." if len(unread) > 5 else "")
        notes.append(f"nothing reads these tensors of the model, and the net lacks them: {shown}")
    net = with_idioms(replace(read.net, doc=tuple(doc)))
    text, checked, said = sound_text(name, net, nowhere=_NOWHERE)
    notes += said
    notes += [
        f"`{other}` is `{name}`, and loads under that name" for other, name in read.tied.items()
    ]
    state = {k: v for k, v in _state(module).items() if k in read.read}
    require_same_names(checked, state)

    def outputs(batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return _outputs(module, [batch[name] for name in example], calling, checked)

    try:
        proof = compared(checked, state, outputs)
    except NetspecError:
        _require_settled(checked, outputs)
        raise
    trained = _in_training(module, checked, list(example), calling, prove, notes)
    return ImportedText(text, checked, state, proof.difference, tuple(notes), trained=trained)


def _require_tensors(example: Mapping[str, object]) -> None:
    """Raise `import/module` unless all inputs are tensors."""
    torch = require_torch()
    for name, given in example.items():
        if not isinstance(given, torch.Tensor):
            message = f"`{name}` is a {type(given).__name__}, and an input of a net is one tensor"
            better = "import a module around the model whose `forward` takes tensors"
            raise NetspecError.simple(codes.IMPORT_MODULE, message, better)


def _require_single(module: nn.Module) -> None:
    """Raise `import/module` for a model that computes with another precision than a net's weights."""
    torch = require_torch()
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and tensor.dtype is not torch.float32:
            kind = str(tensor.dtype).removeprefix("torch.")
            message = f"`{name}` is of type {kind}, and the weights of a net are float32"
            raise NetspecError.simple(codes.IMPORT_MODULE, message, "import `model.float()`")


def _require_settled(
    net: CheckedText, outputs: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
) -> None:
    """Raise `import/differs` for a model that gives other outputs for the same batch."""
    batch = random_inputs(closed(net.graph), 2, np.random.default_rng(0))
    one, other = outputs(batch), outputs(batch)
    if any(not np.array_equal(one[name], other[name], equal_nan=True) for name in one):
        message = "the model draws random numbers in evaluation, and a net in training alone"
        raise NetspecError.simple(codes.IMPORT_DIFFERS, message, "nothing was written")


def _in_training(
    module: nn.Module,
    net: CheckedText,
    names: Sequence[str],
    calling: Calling,
    prove: Proof,
    notes: list[str],
) -> TrainingDifference | None:
    """Compare with the model in training, or note why not.

    Raises:
        NetspecError: `import/differs`; `import/module` if gradients were asked for and the model
            cannot be run in training.
    """
    why = "a saved trace is as it was traced" if _is_trace(module) else ""
    if not why and any(note == _EVALUATION for note in notes):
        why = "the net is that of evaluation"

    def step(trial: Trial, gradients: bool) -> tuple[Arrays, Arrays]:
        def outputs_of(found: object) -> dict[str, torch.Tensor]:
            return _by_net(_named(found), net)

        return training_step(
            module, trial, names, calling, outputs_of, aten_table(), gradients=gradients
        )

    if not why:
        try:
            found = training_difference(net.graph, step, gradients=prove == "full")
            if found is not None:
                return found
            why = "it draws random numbers"
        except NetspecError:
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {str(error).strip()[:200]}"
    if prove == "full":
        raise NetspecError.simple(codes.IMPORT_MODULE, f"training cannot be compared: {why}")
    notes.append(f"training was not compared: {why}")
    return None


def _read(
    module: nn.Module,
    example: Mapping[str, torch.Tensor],
    calling: Calling,
    name: str,
    program: ExportedProgram | None,
    fresh: Mapping[str, torch.Tensor] | None,
) -> tuple[ReadGraph, list[str]]:
    """Read the trace in training, which has auxiliary outputs and dropout, or that in evaluation."""
    if program is not None:
        read = read_graph(program, name, list(example), [], aten_table(), None)
        _require_expressed(read)
        return read, []
    failed: ReadGraph | NetspecError | None = None
    for training in (True, False):
        try:
            program = _traced(module, list(example.values()), calling, training=training)
        except NetspecError as error:
            failed = failed or error
            continue
        names = with_returned_names(
            _output_names(program), module, lambda: _output_count(module, example, calling)
        )
        inputs = calling.order(list(example))
        read = read_graph(program, name, inputs, names, aten_table(), module, fresh)
        if not read.problems:
            notes = []
            if not training:
                notes.append(_EVALUATION)
            return read, notes
        failed = failed or read
    if isinstance(failed, NetspecError):
        raise failed
    assert failed is not None
    _require_expressed(failed)
    raise AssertionError


def _traced(
    module: nn.Module, example: Sequence[torch.Tensor], calling: Calling, *, training: bool
) -> ExportedProgram:
    try:
        return exported(module, example, calling, training=training)
    except Exception as error:
        text = str(error).strip().splitlines() or [type(error).__name__]
        found = [Diagnostic(codes.IMPORT_MODULE, f"PyTorch cannot trace the model: {text[0]}")]
        place = _raised_at(error)
        if place:
            found[0] = replace(found[0], notes=(f"at {place}",))
        raise NetspecError(found) from None


def _raised_at(error: BaseException) -> str:
    """Return the innermost line of a traceback outside of PyTorch and netspec."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    own = innermost_own((f.filename, f.lineno or 0, f.line or "") for f in frames)
    return "" if own is None else f"{own[0]}:{own[1]}: {own[2]}"


def _require_expressed(read: ReadGraph) -> None:
    """Raise an error for each problem."""
    if read.problems:
        raise NetspecError(told(read.problems, nowhere=_NOWHERE))


def _state(module: nn.Module) -> dict[str, NDArray[Any]]:
    return {name: t.detach().cpu().numpy() for name, t in module.state_dict().items()}


def _output_names(program: ExportedProgram) -> list[str]:
    """Return the names that a model gives its outputs: keys of a dict, fields of a tuple."""
    from torch.utils import _pytree

    (end,) = (node for node in program.graph.nodes if node.op == "output")
    return list(_named(_pytree.tree_unflatten(list(end.args[0]), program.call_spec.out_spec)))


def _output_count(module: nn.Module, example: Mapping[str, torch.Tensor], calling: Calling) -> int:
    """Return how many outputs a model has in evaluation; 0 if it does not run there."""
    batch = [tensor.numpy() for tensor in example.values()]
    try:
        return len(_named(_called(module, batch, calling)))
    except Exception:
        return 0


def _named(found: Any) -> dict[str, torch.Tensor]:
    """Return outputs by name, without those that are None; what lies in lists and dicts of them has
    the names of both: `heads_boxes`, `states1`.
    """
    if not isinstance(found, (Mapping, tuple, list)):
        return {"output": found}
    leaves = _leaves(found, "")
    words = _output_words([name for name, _ in leaves])
    return {w: t for w, (_, t) in zip(words, leaves, strict=True) if t is not None}


def _leaves(found: Any, path: str) -> list[tuple[str, Any]]:
    """Return what lies in outputs, with the names on the way to it."""
    if isinstance(found, Mapping):
        within = f"{path}_" if path else ""
        return [leaf for key, item in found.items() for leaf in _leaves(item, f"{within}{key}")]
    if isinstance(found, (tuple, list)):
        fields = getattr(found, "_fields", None)
        if fields:
            return _leaves(dict(zip(fields, found, strict=True)), path)
        items = enumerate(found, 1)
        return [leaf for i, item in items for leaf in _leaves(item, f"{path or 'output'}{i}")]
    return [(path, found)]


def _outputs(
    module: nn.Module, batch: Sequence[NDArray[Any]], calling: Calling, net: CheckedText
) -> dict[str, NDArray[Any]]:
    """Return a model's outputs in evaluation by the net's names; a single one is the net's first."""
    found = _named(_called(module, batch, calling))
    return {name: t.detach().cpu().numpy() for name, t in _by_net(found, net).items()}


def _called(module: nn.Module, batch: Sequence[NDArray[Any]], calling: Calling) -> Any:
    """Return what a model gives in evaluation."""
    torch = require_torch()
    in_order, by_name = calling.arguments([torch.from_numpy(array) for array in batch])
    was_training = module.training and not _is_trace(module)
    try:
        if was_training:
            module.eval()
        with torch.no_grad():
            return module(*in_order, **by_name)
    finally:
        if was_training:
            module.train()


def _by_net(found: dict[str, torch.Tensor], net: CheckedText) -> dict[str, torch.Tensor]:
    """Return outputs by the net's names: by order, where the model has other names or none."""
    known = list(net.graph.outputs)
    if len(found) == 1 or not set(found) <= set(known):
        return dict(zip(known, found.values(), strict=False))
    return found


def _input_names(given: Sequence[str], labels: AbstractSet[str]) -> list[str]:
    """Return names for the inputs: the given ones, where they are no words of the language and no
    layer of the net has them as its label.
    """
    taken = {*given, *labels}
    others = KEYWORDS | labels
    return [take_name("x", taken) if name in others else name for name in given]


def _is_trace(module: nn.Module) -> bool:
    """Whether a module is a trace of one, which is as it was traced."""
    return type(module).__name__ == "GraphModule"


def _output_words(given: Sequence[str]) -> list[str]:
    """Return a name for each output."""
    taken: set[str] = set()
    return [take_name(_word(text), taken) for text in given]


def _word(text: str) -> str:
    word = re.sub(r"\W", "_", text)
    if word == "output":  # what an output without a name is called
        return word
    return word if word and not word[0].isdigit() and word not in KEYWORDS else f"output_{word}"


def _pascal(name: str) -> str:
    word = re.sub(r"[^A-Za-z0-9]", "", name) or "Net"
    return word[0].upper() + word[1:] if word[0].isalpha() else f"Net{word}"
