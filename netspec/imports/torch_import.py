"""A PyTorch module as the text of a `.net` file, proved to compute the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from netspec import codes
from netspec.compiler.parse.tree_builder import KEYWORDS
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.imports.allowances import allowed
from netspec.imports.aten_table import aten_table
from netspec.imports.idioms import with_idioms
from netspec.imports.imported_net import Problem
from netspec.imports.imported_text import ImportedText
from netspec.imports.proof import (
    CheckedText,
    largest_difference,
    require_same_names,
)
from netspec.imports.structure import structured
from netspec.imports.text import net_text
from netspec.imports.torch_front.export import exported
from netspec.imports.torch_front.read_graph import ReadGraph, read_graph
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

_EVALUATION = "the trace in training cannot be expressed: this is evaluation's"


def import_torch(
    module: nn.Module,
    example: Mapping[str, torch.Tensor],
    *,
    name: str = "",
    program: ExportedProgram | None = None,
    doc: Sequence[str] = (),
    prove: Proof = "outputs",
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

    Raises:
        NetspecError: `import/module` if it cannot be traced; `import/inexpressible`, one for each
            operator; `import/differs`.
    """
    name = name or _pascal(type(module).__name__)
    example = dict(zip(_input_names(list(example)), example.values(), strict=True))
    read, notes = _read(module, example, name, program)
    unread = sorted(set(_state(module)) - read.read - set(read.tied))
    if unread:
        shown = ", ".join(unread[:5]) + (", ..." if len(unread) > 5 else "")
        notes.append(f"nothing reads these tensors of the model, and the net lacks them: {shown}")
    net = with_idioms(replace(read.net, doc=tuple(doc)))
    text, checked = allowed(name, net_text(structured(net)))
    notes += [
        f"`{other}` is `{name}`, and loads under that name" for other, name in read.tied.items()
    ]
    state = {k: v for k, v in _state(module).items() if k in read.read}
    require_same_names(checked, state)
    difference = largest_difference(
        checked, state, lambda batch: _outputs(module, batch, list(example), checked)
    )
    trained = _in_training(module, checked, list(example), prove, notes)
    return ImportedText(text, checked, state, difference, tuple(notes), trained=trained)


def _in_training(
    module: nn.Module, net: CheckedText, names: Sequence[str], prove: Proof, notes: list[str]
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

        return training_step(module, trial, names, outputs_of, aten_table(), gradients=gradients)

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
    name: str,
    program: ExportedProgram | None,
) -> tuple[ReadGraph, list[str]]:
    """Read the trace in training, which has auxiliary outputs and dropout, or that in evaluation."""
    if program is not None:
        read = read_graph(program, name, list(example), [], aten_table(), None)
        _require_expressed(read)
        return read, []
    failed: ReadGraph | NetspecError | None = None
    for training in (True, False):
        try:
            program = _traced(module, example, training=training)
        except NetspecError as error:
            failed = failed or error
            continue
        names = _output_names(program)
        read = read_graph(program, name, list(example), names, aten_table(), module)
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
    module: nn.Module, example: Mapping[str, torch.Tensor], *, training: bool
) -> ExportedProgram:
    try:
        return exported(module, list(example.values()), training=training)
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
    own = [f for f in frames if not re.search(r"[/\\](torch|netspec)[/\\]", f.filename)]
    return f"{own[-1].filename}:{own[-1].lineno}: {own[-1].line}" if own else ""


def _require_expressed(read: ReadGraph) -> None:
    """Raise an error for each problem."""
    if read.problems:
        raise NetspecError([_diagnostic(problem) for problem in dict.fromkeys(read.problems)])


def _diagnostic(problem: Problem) -> Diagnostic:
    where = problem.path or "the model itself"
    kind = f" ({problem.kind})" if problem.kind else ""
    place = problem.place
    notes = (f"at {place}: {place.text}",) if place is not None else ()
    message = f"{where}{kind}: `{problem.what}` cannot be expressed: {problem.why}"
    return Diagnostic(codes.IMPORT_INEXPRESSIBLE, message, notes=notes)


def _state(module: nn.Module) -> dict[str, NDArray[Any]]:
    return {name: t.detach().cpu().numpy() for name, t in module.state_dict().items()}


def _output_names(program: ExportedProgram) -> list[str]:
    """Return the names that a model gives its outputs: keys of a dict, fields of a tuple."""
    from torch.utils import _pytree

    (end,) = (node for node in program.graph.nodes if node.op == "output")
    return list(_named(_pytree.tree_unflatten(list(end.args[0]), program.call_spec.out_spec)))


def _named(found: Any) -> dict[str, torch.Tensor]:
    """Return outputs by name, without those that are None."""
    if isinstance(found, Mapping):
        names = _output_words(list(map(str, found)))
        return {name: t for name, t in zip(names, found.values(), strict=True) if t is not None}
    if isinstance(found, (tuple, list)):
        fields = getattr(found, "_fields", None)
        names = _output_words(fields or [f"output{i + 1}" for i in range(len(found))])
        return {name: t for name, t in zip(names, found, strict=True) if t is not None}
    return {"output": found}


def _outputs(
    module: nn.Module, batch: Mapping[str, NDArray[Any]], names: Sequence[str], net: CheckedText
) -> dict[str, NDArray[Any]]:
    """Return a model's outputs in evaluation by the net's names; a single one is the net's first."""
    torch = require_torch()
    given = [torch.from_numpy(batch[name]) for name in names if name in batch]
    was_training = module.training and not _is_trace(module)
    try:
        if was_training:
            module.eval()
        with torch.no_grad():
            found = _named(module(*given))
    finally:
        if was_training:
            module.train()
    return {name: t.detach().cpu().numpy() for name, t in _by_net(found, net).items()}


def _by_net(found: dict[str, torch.Tensor], net: CheckedText) -> dict[str, torch.Tensor]:
    """Return outputs by the net's names: by order, where the model has other names or none."""
    known = list(net.graph.outputs)
    if len(found) == 1 or not set(found) <= set(known):
        return dict(zip(known, found.values(), strict=False))
    return found


def _input_names(given: Sequence[str]) -> list[str]:
    """Return names for the inputs: the given ones, where they are no words of the language."""
    taken = set(given)
    return [take_name("x", taken) if name in KEYWORDS else name for name in given]


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
