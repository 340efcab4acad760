"""Names of layers: given as labels, or made of the kind and a number within the body."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from netspec import codes
from netspec.compiler.elaborate.evaluator import Evaluator
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.elaborate.values import Unknown
from netspec.compiler.ir.attributes import show
from netspec.compiler.syntax import labels
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Hint, Label, Span, quoted
from netspec.text.free_name import free_name


class LayerNames:
    """Gives each layer of a body its full name.

    `prefix` is the path of the block whose body this is. `suffix` is not empty in a further call of
    a block that is called more than once.
    """

    def __init__(
        self,
        assembly: Assembly,
        reporter: Reporter,
        evaluator: Evaluator,
        prefix: str = "",
        suffix: str = "",
        counters: dict[str, int] | None = None,
    ) -> None:
        self.assembly = assembly
        self.reporter = reporter
        self.evaluator = evaluator
        self.prefix = prefix
        self.suffix = suffix
        self.counters: dict[str, int] = {} if counters is None else counters

    def path(self, label: str) -> str:
        """Return the full name of a layer with this label."""
        return f"{self.prefix}.{label}" if self.prefix else label

    def text(self, label: syntax.Label) -> str | None:
        """Return a label with its interpolated constants filled in, or None after reporting an
        error.
        """
        segments = []
        if len(label.segments) > labels.MAX_SEGMENTS:
            message = f"a label has at most {labels.MAX_SEGMENTS} parts"
            self.reporter.report(codes.LABEL_INVALID, message, label.span)
            return None
        for parts in label.segments:
            text = ""
            for part in parts:
                if isinstance(part, str):
                    text += part
                    continue
                value = self.evaluator.constant(part, "a part of a label")
                if isinstance(value, Unknown):
                    return None
                if isinstance(value, bool) or not isinstance(value, (int, str)):
                    message = f"a label is made of names and whole numbers, not {show(value)}"
                    self.reporter.report(codes.LABEL_INVALID, message, part.span)
                    return None
                text += str(value)
            segments.append(text)
        written_out = label.span.text == ".".join(segments)
        if not self.are_usable(segments, label.span, "a label", (label.span,) * written_out):
            return None
        return ".".join(segments)

    def are_usable(
        self, segments: Sequence[str], span: Span, what: str, places: Iterable[Span]
    ) -> bool:
        """Whether a layer can have a name of these parts.

        The first part that is not allowed is reported.

        Args:
            segments: the parts of the name, between its dots.
            span: where the name is given.
            what: what the name is for, in words: a label, or the name of a layer.
            places: where the file writes each part, which a fix would change.
        """
        for segment in segments:
            problem = labels.problem(segment)
            if problem is not None:
                better = f"{segment.strip('_')}_"
                whole = ".".join(better if s == segment else s for s in segments)
                edits = tuple(Edit(place, whole) for place in places)
                hints = (Hint(f"call it `{whole}`", edits),) if edits else ()
                code = codes.LABEL_RESERVED if "PyTorch" in problem else codes.LABEL_INVALID
                message = f"{quoted(segment)} cannot be {what}: {problem}"
                self.reporter.report(code, message, span, hints=hints)
                return False
        return True

    def take(self, path: str, span: Span, label: str) -> bool:
        """Claim a path for a layer. Return False, after reporting it, if the path is taken."""
        if self.suffix:
            return True  # a further call of a shared block reuses the names
        found = self.assembly.take(path, self.prefix, span)
        if found is None:
            return True
        owner, earlier = found
        hints: tuple[Hint, ...] = ()
        turns = self.reporter.turns
        if turns and earlier == span:
            numbered = _numbered(label, [name for name, _ in turns])
            hints = (
                Hint(f"number it with the loop variable: `{numbered}`", (Edit(span, numbered),)),
            )
        elif earlier == span and self.reporter.is_inline:
            advice = "label a call of this inline block, `-> NAME: ...`: its layers lie below that"
            hints = (Hint(advice),)
        elif earlier != span and span.text == label:
            prefix = path.removesuffix(label)
            taken = {each.removeprefix(prefix) for each in self.assembly.taken}
            free = free_name(label, taken, joint="")
            hints = (Hint(f"call it `{free}`", (Edit(span, free),)),)
        secondary = () if earlier == span else (Label(earlier, "already here"),)
        message = f"`{path}` is already the name of {self.assembly.kind(path)}"
        if owner != path:
            message = f"`{owner}` is a layer, and `{path}` would lie inside it"
        elif path in self.assembly.above:
            message = f"`{path}` already holds other layers"
        self.reporter.report(codes.LABEL_TWICE, message, span, secondary=secondary, hints=hints)
        return False

    def name(self, kind: str, label: syntax.Label | None, span: Span) -> str | None:
        """Return the full name of a layer: its label, or its kind with a number that counts within
        this body.

        It is None after a reported error.
        """
        if label is not None:
            self.assembly.labels[label] = None
            text = self.text(label)
            if text is None:
                return None
            path = self.path(text)
            return path if self.take(path, label.span, text) else None
        while True:
            self.counters[kind] = self.counters.get(kind, 0) + 1
            path = self.path(f"{kind}{self.counters[kind]}")
            if self.suffix or self.assembly.is_free(path):
                self.assembly.take(path, self.prefix, span)
                return path


def _numbered(label: str, variables: Sequence[str]) -> str:
    """Return a label that has the loops' variables: `body{i}`, and `stages.{i}.{j}` for `stages.i.j`.

    A segment that is the name of a variable was meant to be its value. What is numbered already by
    some gets the others behind it, with a line between two numbers.
    """
    segments = label.split(".")
    if any(segment in variables for segment in segments):
        return ".".join(f"{{{s}}}" if s in variables else s for s in segments)
    missing = [f"{{{name}}}" for name in variables if f"{{{name}}}" not in label]
    joint = "_" if label.endswith("}") else ""
    return f"{label}{joint}{'_'.join(missing or [f'{{{variables[-1]}}}'])}"
