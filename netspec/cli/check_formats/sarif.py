"""`check --format sarif`: SARIF 2.1.0, which code scanning services read.

The format is an OASIS standard: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
Columns count characters (`unicodeCodePoints`), and begin at 1, as those of SARIF do.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import netspec
from netspec import project
from netspec.cli.check_formats.checked_file import CheckedFile, distinct, words
from netspec.diagnostics import Code, Diagnostic, Edit, Hint, Span

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
# What the fingerprint is made of; a number for each way of making it.
_FINGERPRINT = "netspecDiagnostic/v1"


def as_sarif(files: Sequence[CheckedFile]) -> str:
    """Return a log with one run. What several files import is reported once."""
    found = distinct(files)
    rules = {code: at for at, code in enumerate(sorted({d.code for _, d in found}))}
    run = {
        "tool": {"driver": _driver(rules)},
        "columnKind": "unicodeCodePoints",
        "artifacts": [{"location": _artifact(file.name)} for file in files],
        "results": [_result(name, d, rules[d.code]) for name, d in found],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _driver(rules: dict[Code, int]) -> dict[str, Any]:
    driver = {
        "name": "netspec",
        "semanticVersion": netspec.__version__,
        "rules": [
            {
                "id": str(code),
                "shortDescription": {"text": code.summary},
                "help": {"text": f"netspec explain {code}"},
                **_given("helpUri", project.page_about(code)),
                "defaultConfiguration": {"level": code.severity},
            }
            for code in rules
        ],
    }
    return {**driver, **_given("informationUri", project.REPOSITORY or None)}


def _given(name: str, address: str | None) -> dict[str, str]:
    """Return an address under its name; nothing while the project has none."""
    return {} if address is None else {name: address}


def _result(file: str, diagnostic: Diagnostic, rule: int) -> dict[str, Any]:
    span = diagnostic.span
    place = {"artifactLocation": _artifact(file)} if span is None else _place(span)
    result: dict[str, Any] = {
        "ruleId": str(diagnostic.code),
        "ruleIndex": rule,
        "level": diagnostic.severity,
        "message": {"text": words(diagnostic)},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {_FINGERPRINT: _fingerprint(file, diagnostic)},
    }
    related = [
        {
            "id": at,
            "physicalLocation": _place(label.span),
            **({"message": {"text": label.text}} if label.text else {}),
        }
        for at, label in enumerate(diagnostic.secondary)
    ]
    fixes = [_fix(hint) for hint in diagnostic.hints if hint.edits]
    return {
        **result,
        **({"relatedLocations": related} if related else {}),
        **({"fixes": fixes} if fixes else {}),
    }


def _fingerprint(file: str, diagnostic: Diagnostic) -> str:
    """Return what stays the same for a mistake when lines above it are added or removed."""
    span = diagnostic.span
    facts = (
        diagnostic.code,
        diagnostic.message,
        span.source.name if span else file,
    )
    line = _as_json(span.source.line(span.line).strip() if span else "")
    return hashlib.sha256(f"{json.dumps(facts)[:-1]}, {line}]".encode()).hexdigest()[:32]


@functools.lru_cache(maxsize=1)
def _as_json(line: str) -> str:
    """A line can be a whole file, and have thousands of mistakes, one after the other."""
    return json.dumps(line)


def _fix(hint: Hint) -> dict[str, Any]:
    changed: dict[str, list[Edit]] = {}
    for edit in hint.edits:
        changed.setdefault(edit.span.source.name, []).append(edit)
    return {
        "description": {"text": hint.text},
        "artifactChanges": [
            {"artifactLocation": _artifact(name), "replacements": [*_replacements(edits)]}
            for name, edits in changed.items()
        ],
    }


def _replacements(edits: Sequence[Edit]) -> Iterator[dict[str, Any]]:
    for edit in edits:
        yield {
            "deletedRegion": _region(edit.span),
            "insertedContent": {"text": edit.replacement},
        }


def _place(span: Span) -> dict[str, Any]:
    return {"artifactLocation": _artifact(span.source.name), "region": _region(span)}


def _region(span: Span) -> dict[str, int]:
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    return {
        "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column,
    }  # fmt: skip


def _artifact(name: str) -> dict[str, str]:
    """Return the location of a file: an absolute one as a URI, another below the root of sources."""
    path = Path(name)
    if path.is_absolute():
        return {"uri": path.as_uri()}
    encoded = quote(path.as_posix().encode("utf-8", "surrogateescape"))
    return {"uri": encoded, "uriBaseId": "%SRCROOT%"}
