"""Names of layers: labels written out, or kinds numbered within their body."""

from __future__ import annotations

from collections.abc import Sequence

from netspec import codes
from netspec.compiler.elaborate.layers import LayerCaller
from netspec.compiler.elaborate.scope import UNKNOWN
from netspec.compiler.ir.attributes import show
from netspec.compiler.syntax import labels
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Hint, Label, Span, quoted


class LayerNamer(LayerCaller):
    """Gives each layer of a body its full name."""

    prefix: str
    suffix: str
    counters: dict[str, int]
    turns: list[tuple[str, object]]

    def _path(self, label: str) -> str:
        return f"{self.prefix}.{label}" if self.prefix else label

    def _label_text(self, label: syntax.Label) -> str | None:
        """A label with its interpolated constants put in; None after a reported error."""
        segments = []
        if len(label.segments) > labels.MAX_SEGMENTS:
            message = f"a label has at most {labels.MAX_SEGMENTS} parts"
            self.report(codes.LABEL_INVALID, message, label.span)
            return None
        for parts in label.segments:
            text = ""
            for part in parts:
                if isinstance(part, str):
                    text += part
                    continue
                value = self.constant(part, "a part of a label")
                if value is UNKNOWN:
                    return None
                if isinstance(value, bool) or not isinstance(value, (int, str)):
                    message = f"a label is made of names and whole numbers, not {show(value)}"
                    self.report(codes.LABEL_INVALID, message, part.span)
                    return None
                text += str(value)
            segments.append(text)
        written_out = label.span.text == ".".join(segments)
        if not self._are_usable(segments, label.span, "a label", (label.span,) * written_out):
            return None
        return ".".join(segments)

    def _are_usable(
        self, segments: Sequence[str], span: Span, what: str, places: Sequence[Span]
    ) -> bool:
        """Whether a layer can have a name of these parts; reports the first that it cannot have.

        Args:
            segments: the parts.
            span: where the name is given.
            what: what it is to be: a label, the name of a layer.
            places: where the file writes it out, and would have to write another one.
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
                self.report(code, message, span, hints=hints)
                return False
        return True

    def _take(self, path: str, span: Span, label: str) -> bool:
        """Claim a path for a layer; reports if it is taken."""
        if self.suffix:
            return True  # a further call of a shared block has the names of the first
        found = self.assembly.take(path, self.prefix, span)
        if found is None:
            return True
        owner, earlier = found
        hints: tuple[Hint, ...] = ()
        if self.turns and earlier == span:
            turn = self.turns[-1][0]
            edits = (Edit(span, f"{label}{{{turn}}}"),)
            hints = (Hint(f"number it with the loop variable: `{label}{{{turn}}}`", edits),)
        secondary = () if earlier == span else (Label(earlier, "already here"),)
        message = f"`{path}` is already the name of a layer"
        if owner != path:
            message = f"`{owner}` is a layer, and `{path}` would lie inside it"
        elif path in self.assembly.above:
            message = f"`{path}` already holds other layers"
        self.report(codes.LABEL_TWICE, message, span, secondary=secondary, hints=hints)
        return False

    def _name_layer(self, kind: str, label: syntax.Label | None, span: Span) -> str | None:
        """The full name of a layer: its label, or its kind numbered within this body."""
        if label is not None:
            self.assembly.labels[label] = None
            text = self._label_text(label)
            if text is None:
                return None
            path = self._path(text)
            return path if self._take(path, label.span, text) else None
        while True:
            self.counters[kind] = self.counters.get(kind, 0) + 1
            path = self._path(f"{kind}{self.counters[kind]}")
            if self.suffix or self.assembly.is_free(path):
                self.assembly.take(path, self.prefix, span)
                return path
