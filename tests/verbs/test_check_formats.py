"""`check --format json|sarif|github|junit`: what programs read."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import jsonschema
import pytest

from netspec import project
from netspec.cli.check_formats import FORMATS, report_as, sarif
from netspec.cli.check_formats.checked_file import CheckedFile
from netspec.cli.check_formats.json_report import VERSION
from netspec.compiler.driver import Request, compile_request
from netspec.diagnostics import Source, declared_codes
from tests.conftest import ROOT, Run, Write
from tests.helpers.json_schemas import closed

SCHEMA = json.loads((ROOT / "docs/check.schema.json").read_text("utf-8"))
BAD_FILES = sorted((ROOT / "tests/language/bad").rglob("*.net"))
MISTAKE = ROOT / "docs/mistake.net"
# A name and a message that would begin a command, an attribute or an element of their own.
HOSTILE = 'a,b:c%0A"<&>\n::error::\x1b[31m'


def checked(path: Path) -> CheckedFile:
    result = compile_request(Request(path=path))
    return CheckedFile(str(path), result, bool(result.errors))


@pytest.fixture(scope="module")
def bad() -> list[CheckedFile]:
    small = [path for path in BAD_FILES if path.stat().st_size < 2_000]
    assert len(small) > 150
    return [checked(path) for path in small[::8]]


def test_the_json_of_check_follows_its_schema(bad: list[CheckedFile]) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    data = json.loads(report_as("json", bad, ok=False))
    jsonschema.validate(data, closed(SCHEMA))
    assert data["version"] == VERSION == SCHEMA["properties"]["version"]["const"]
    for field in ("hints", "secondary", "trace", "notes", "span"):
        assert any(d[field] for file in data["files"] for d in file["diagnostics"]), field


def test_the_schema_misses_what_is_wrong() -> None:
    good = json.loads(report_as("json", [checked(MISTAKE)], ok=False))
    for break_it in (
        lambda data: data.pop("version"),
        lambda data: data["files"][0].pop("errors"),
        lambda data: data["files"][0]["diagnostics"][0].update(severity="note"),
        lambda data: data["files"][0]["diagnostics"][0]["span"].update(line=0),
    ):
        data = copy.deepcopy(good)
        break_it(data)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(data, SCHEMA)


def test_sarif_says_what_json_says(bad: list[CheckedFile]) -> None:
    """The rules of SARIF 2.1.0 that a log of ours could break."""
    log = json.loads(report_as("sarif", bad, ok=False))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    ids = [rule["id"] for rule in rules]
    assert ids == sorted(set(ids))
    assert set(ids) <= set(declared_codes())
    found = set()
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("error", "warning")
        assert result["message"]["text"]
        (location,) = result["locations"]
        places = [location, *result.get("relatedLocations", ())]
        for place in places:
            check_place(place["physicalLocation"])
        for fix in result.get("fixes", ()):
            assert fix["description"]["text"]
            for change in fix["artifactChanges"]:
                assert change["artifactLocation"]["uri"]
                assert all("text" in r["insertedContent"] for r in change["replacements"])
        where = location["physicalLocation"]
        start = where["region"]["startLine"] if "region" in where else 0
        found.add((result["ruleId"], where["artifactLocation"]["uri"], start))
    expected = set()
    for file in bad:
        for d in file.diagnostics:
            name, line = (d.span.source.name, d.span.line) if d.span else (file.name, 0)
            expected.add((str(d.code), Path(name).as_uri(), line))
    assert found == expected
    assert any("fixes" in result for result in run["results"])
    assert any("relatedLocations" in result for result in run["results"])


def test_sarif_leads_to_the_page_of_a_code(
    bad: list[CheckedFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rules() -> list[dict[str, Any]]:
        (run,) = json.loads(report_as("sarif", bad, ok=False))["runs"]
        assert run["tool"]["driver"].get("informationUri", "") == project.REPOSITORY
        return run["tool"]["driver"]["rules"]  # type: ignore[no-any-return]

    assert all(rule["help"]["text"] == f"netspec explain {rule['id']}" for rule in rules())
    assert not any("helpUri" in rule for rule in rules())
    monkeypatch.setattr(project, "SITE", "https://example.org/site")
    monkeypatch.setattr(project, "REPOSITORY", "https://example.org/netspec")
    for rule in rules():
        assert rule["helpUri"] == f"https://example.org/site/codes/{rule['id']}.html"


def check_place(place: dict[str, Any]) -> None:
    assert re.match(r"file:///", place["artifactLocation"]["uri"])
    region = place.get("region")
    if region is not None:
        start = (region["startLine"], region["startColumn"])
        assert (1, 1) <= start <= (region["endLine"], region["endColumn"])


def test_a_fix_in_sarif_is_the_change(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    log = json.loads(run("check", "docs/mistake.net", "--format", "sarif").out)
    (result,) = log["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "docs/mistake.net", "uriBaseId": "%SRCROOT%"}
    ((change,),) = [fix["artifactChanges"] for fix in result["fixes"]]
    (replacement,) = change["replacements"]
    at = replacement["deletedRegion"]
    line = MISTAKE.read_text("utf-8").splitlines()[at["startLine"] - 1]
    start, end = at["startColumn"] - 1, at["endColumn"] - 1
    mended = line[:start] + replacement["insertedContent"]["text"] + line[end:]
    assert "conv(channels, 1, bias = false, stride = stride)" in mended


def test_a_fingerprint_outlives_lines_above_it(write: Write, run: Run) -> None:
    def fingerprints(text: str) -> list[str]:
        log = json.loads(run("check", write(text), "--format", "sarif").out)
        return [
            value for r in log["runs"][0]["results"] for value in r["partialFingerprints"].values()
        ]

    text = MISTAKE.read_text("utf-8")
    assert fingerprints(text) == fingerprints(f"# a line\n\n{text}")
    assert fingerprints(text) != fingerprints(text.replace("main + skip", "skip + main"))


def test_a_mistake_in_a_shared_import_is_reported_once(run: Run, write: Write) -> None:
    write("block Broken() x {\n return x -> linaer(3)\n}\n", "part.net")
    text = 'from "part.net" import Broken\nnet N() { input x: [4]\n output x -> Broken() }\n'
    files = [write(text, name) for name in ("a.net", "b.net")]
    log = json.loads(run("check", *files, "--format", "sarif").out)
    assert len(log["runs"][0]["results"]) == 1
    assert len(run("check", *files, "--format", "github").out.splitlines()) == 1


def test_github_gets_a_command_for_each_diagnostic(bad: list[CheckedFile]) -> None:
    lines = report_as("github", bad, ok=False).splitlines()
    command = re.compile(
        r"::(error|warning) file=[^:,]+"
        r"(,line=\d+,endLine=\d+(,col=\d+,endColumn=\d+)?)?,title=[a-z0-9-]+/[a-z0-9-]+::.+"
    )
    assert len(lines) == len({(d.code, d.message, d.span) for f in bad for d in f.diagnostics})
    assert not [
        line for line in lines if not command.fullmatch(line.replace("%3A", "").replace("%2C", ""))
    ]


def test_the_columns_of_github_end_on_the_last_character(run: Run, write: Write) -> None:
    path = write("net B() { input x: [3]\n output x -> linaer(2) }\n")
    (line,) = run("check", path, "--format", "github").out.splitlines()
    assert "line=2,endLine=2,col=14,endColumn=19,title=name/unknown-layer::" in line


def test_junit_has_a_case_for_each_file(run: Run, write: Write) -> None:
    good = write("net G() { input x: [3]\n output x -> linear(2) }\n", "good.net")
    odd = write("net O() { input x: [3]\n unread = x -> relu\n output x }\n", "odd.net")
    finished = run("check", good, odd, MISTAKE, "--format", "junit")
    assert (finished.code, finished.err) == (1, "")
    whole = ElementTree.fromstring(finished.out.encode())
    assert (whole.get("tests"), whole.get("failures")) == ("3", "1")
    cases = whole.findall("testsuite/testcase")
    assert [case.get("name") for case in cases] == [str(good), str(odd), str(MISTAKE)]
    assert [[child.tag for child in case] for case in cases] == [[], ["system-out"], ["failure"]]
    assert "main + skip" in str(cases[2][0].text)
    strict = run("check", good, odd, "--format", "junit", "--strict").out
    assert ElementTree.fromstring(strict.encode()).get("failures") == "1"


def test_junit_of_bad_files_is_xml(bad: list[CheckedFile]) -> None:
    whole = ElementTree.fromstring(report_as("junit", bad, ok=False).encode())
    failed = [
        case.get("name") for case in whole.iter("testcase") if case.find("failure") is not None
    ]
    assert failed == [file.name for file in bad if file.failed]


def test_hostile_names_stay_text_in_every_format() -> None:
    text = "net N() { input x: [3]\n output x -> linaer(2) }\n"
    result = compile_request(Request(source=Source(HOSTILE, text)))
    (file,) = found = [CheckedFile(HOSTILE, result, failed=True)]
    assert len(file.diagnostics) == 1
    reports = {form: report_as(form, found, ok=False) for form in FORMATS}
    assert json.loads(reports["json"])["files"][0]["file"] == HOSTILE
    (place,) = json.loads(reports["sarif"])["runs"][0]["results"][0]["locations"]
    assert unquote(place["physicalLocation"]["artifactLocation"]["uri"]) == HOSTILE
    assert reports["github"].count("\n") == 0
    assert reports["github"].startswith("::error file=a%2Cb%3Ac%250A")
    (case,) = ElementTree.fromstring(reports["junit"].encode()).iter("testcase")
    assert case.get("name") == HOSTILE.replace("\x1b", "\\x1b")


def test_a_file_that_cannot_be_read_is_in_every_report(run: Run, tmp_path: Path) -> None:
    for form in FORMATS:
        finished = run("check", tmp_path / "nowhere.net", "--format", form)
        assert (finished.code, finished.err) == (1, ""), form
        assert "nowhere.net" in finished.out


def test_github_prints_nothing_where_nothing_is_wrong(run: Run, networks: Path) -> None:
    finished = run("check", networks / "lenet.net", "--format", "github")
    assert (finished.code, finished.out, finished.err) == (0, "", "")


def test_a_long_line_of_many_mistakes_is_written_down_once(write: Write, run: Run) -> None:
    """It was for each: 2 s for a head of 64 KB. The fingerprints are what they were."""
    head = f"net A({', '.join(f'a{i} = 1' for i in range(200))}) {{"
    net = write(f"{head}\n    input x: [4]\n    output x\n}}\n")
    sarif._as_json.cache_clear()
    (found,) = json.loads(run("check", net, "--format", "sarif").out)["runs"]
    assert len(found["results"]) == 200
    assert sarif._as_json.cache_info().misses == 1
    for result in found["results"]:
        facts = [result["ruleId"], result["message"]["text"], str(net), head]
        made = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
        assert result["partialFingerprints"] == {"netspecDiagnostic/v1": made}
