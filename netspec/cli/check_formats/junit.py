"""`check --format junit`: the XML that test runners write, with a test case for each file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from netspec.cli.check_formats.checked_file import CheckedFile
from netspec.diagnostics import Diagnostic, plural, render

# What XML 1.0 allows; https://www.w3.org/TR/xml/#charsets
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(files: Sequence[CheckedFile]) -> str:
    """Return the suite. A file fails where `check` does; other warnings are its output."""
    counts = {"tests": str(len(files)), "failures": str(sum(file.failed for file in files))}
    whole = Element("testsuites", counts)
    suite = SubElement(whole, "testsuite", {"name": "netspec check", "errors": "0", **counts})
    for file in files:
        case = SubElement(suite, "testcase", classname="netspec.check", name=_xml(file.name))
        failures = [d for d in file.diagnostics if d.severity == "error"] or file.diagnostics
        if file.failed:
            failure = SubElement(
                case, "failure", type=str(failures[0].code), message=_xml(_headline(failures))
            )
            failure.text = _xml(_rendered(file.diagnostics))
        elif file.diagnostics:
            SubElement(case, "system-out").text = _xml(_rendered(file.diagnostics))
    indent(whole)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(whole, encoding="unicode")


def _headline(failures: Sequence[Diagnostic]) -> str:
    first = failures[0].message
    more = len(failures) - 1
    return f"{first} (and {plural(more, failures[0].severity)} more)" if more else first


def _rendered(diagnostics: Sequence[Diagnostic]) -> str:
    return "\n\n".join(map(render, diagnostics))


def _xml(text: str) -> str:
    """Write characters that XML does not have as escapes."""
    return _NO_XML.sub(
        lambda found: found[0].encode("unicode_escape", "backslashreplace").decode(), text
    )
