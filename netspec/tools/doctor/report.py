"""The findings: one line for each check, with its verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from netspec.text import html

# What no check finds may still be wrong.
_SOUND = (
    "all is well in what was checked. If a training still learns nothing, try other learning rates"
    " (netspec train --find-lr rates.png), other initial weights (init), or batch_norm"
)
# `unsure` proves nothing either way, and does not count as a failure.
Verdict = Literal["ok", "unsure", "bad"]


@dataclass(frozen=True)
class Symptom:
    """The outcome of one check.

    Attributes:
        name: the name of the check, in a word or two.
        verdict: the result.
        text: what was observed, in one line.
        help: what to try.
        where: the place in the file, such as `nets/a.net:7:12`.
        numbers: the numbers that the verdict is based on, for programs.
    """

    name: str
    verdict: Verdict
    text: str
    help: str | None = None
    where: str | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dict, for JSON."""
        return {
            "check": self.name,
            "verdict": self.verdict,
            "text": self.text,
            "help": self.help,
            "where": self.where,
            "numbers": dict(self.numbers),
        }


@dataclass
class Pictured:
    """The data for the picture of the findings.

    Attributes:
        gradients: weight name -> size of its gradient relative to its own.
        dead: layer name -> the share of its units that are dead.
        trials: title -> the losses of a short training.
        expected: the loss of a net that knows nothing.
    """

    gradients: dict[str, float] = field(default_factory=dict)
    dead: dict[str, float] = field(default_factory=dict)
    trials: dict[str, list[float]] = field(default_factory=dict)
    expected: float = 0.0


@dataclass(repr=False)
class DoctorReport:
    """All findings.

    Attributes:
        title: which net was examined, on which data, and how it is to be trained.
        findings: in the order of the checks.
        pictured: the data for the picture.
    """

    title: str
    findings: list[Symptom] = field(default_factory=list)
    pictured: Pictured = field(default_factory=Pictured)

    @property
    def ok(self) -> bool:
        """True if no finding is bad."""
        return all(finding.verdict != "bad" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dict, for JSON."""
        findings = [finding.to_dict() for finding in self.findings]
        return {"title": self.title, "ok": self.ok, "findings": findings}

    def __repr__(self) -> str:
        return f"<netspec.DoctorReport of {self.title}: {'ok' if self.ok else 'not ok'}>"

    def _repr_html_(self) -> str:
        return html.preformatted(str(self))

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield self.title
        yield ""
        width = max((len(finding.name) for finding in self.findings), default=0)
        for finding in self.findings:
            shown = finding.verdict.upper() if finding.verdict == "bad" else finding.verdict
            yield f"{shown:<6}  {finding.name:<{width}}  {finding.text}"
            indent = " " * (width + 10)
            if finding.where is not None:
                yield f"{indent}--> {finding.where}"
            if finding.help is not None:
                yield f"{indent}help: {finding.help}"
        yield ""
        yield self._conclusion()

    def _conclusion(self) -> str:
        named: dict[Verdict, list[str]] = {"bad": [], "unsure": [], "ok": []}
        for finding in self.findings:
            named[finding.verdict].append(finding.name)
        parts = [f"bad: {', '.join(named['bad'])}"] if named["bad"] else []
        if named["unsure"]:
            parts.append(f"unsure: {', '.join(named['unsure'])}")
        return "; ".join(parts) or _SOUND
