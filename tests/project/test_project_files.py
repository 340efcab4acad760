"""The files around the code: the workflows, the hooks, and the addresses and versions that they
name.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from netspec import project
from tests.conftest import ROOT, Run, Write

yaml = pytest.importorskip("ruamel.yaml")

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
# Addresses of others that the files name.
THEIRS = ("keepachangelog.com", "semver.org", "pre-commit.com", "example.org")


def load(path: Path) -> Any:
    return yaml.YAML(typ="safe").load(path.read_text("utf-8"))


@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ("vendor.github-workflows", "workflows/*.yml"),
        ("vendor.github-issue-forms", "ISSUE_TEMPLATE/[!c]*.yml"),
        ("vendor.github-issue-config", "ISSUE_TEMPLATE/config.yml"),
        ("vendor.dependabot", "dependabot.yml"),
    ],
)
def test_the_files_of_github_have_the_form_that_it_takes(schema: str, pattern: str) -> None:
    pytest.importorskip("check_jsonschema")
    files = sorted((ROOT / ".github").glob(pattern))
    assert files
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_lint_checks_every_file_of_github() -> None:
    recipe = MAKEFILE.partition("\nschemas:")[2].partition("\n\n")[0]
    for place in ("workflows/*.yml", "dependabot.yml", "config.yml", "ISSUE_TEMPLATE/*.yml"):
        assert f".github/{place}" in recipe or f"ISSUE_TEMPLATE/{place}" in recipe
    assert "lint: $(VENV)/dev schemas" in MAKEFILE


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_targets_that_there_are(path: Path) -> None:
    called = re.findall(r"\bmake ([\w-]+)", path.read_text("utf-8"))
    assert called
    for target in called:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_the_tests_run_on_every_python_from_the_lowest_on() -> None:
    jobs = load(ROOT / ".github/workflows/ci.yml")["jobs"]
    matrix = jobs["test"]["strategy"]["matrix"]["python"]
    lowest = PYPROJECT["project"]["requires-python"].removeprefix(">=")
    assert matrix[0] == lowest
    assert matrix == [f"3.{minor}" for minor in range(11, 15)]
    (setup,) = [s["with"] for s in jobs["lowest"]["steps"] if "with" in s]
    assert setup["python-version"] == lowest


def test_a_release_waits_for_the_tests_and_keeps_no_token() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text("utf-8")
    publish = load(ROOT / ".github/workflows/release.yml")["jobs"]["publish"]
    assert set(publish["needs"]) == {"ci", "build"}
    assert publish["permissions"] == {"id-token": "write"}
    assert "secrets." not in text
    assert "password" not in text


def test_every_target_that_contributors_are_told_of_is_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    told = set(re.findall(r"^\| `make ([\w-]+)`", page, re.MULTILINE))
    phony = set(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[0].split())
    assert told == phony - {"schemas", "clean"}


def test_the_hooks_here_are_those_that_others_use() -> None:
    config = load(ROOT / ".pre-commit-config.yaml")
    ours = {hook["id"]: hook for repo in config["repos"] for hook in repo["hooks"]}
    published = load(ROOT / ".pre-commit-hooks.yaml")
    assert [hook["id"] for hook in published] == ["netspec-fmt", "netspec-check"]
    for hook in published:
        assert ours[hook["id"]]["entry"] == f".venv/bin/{hook['entry']}"
        assert ours[hook["id"]]["files"] == hook["files"] == r"\.net$"


def test_every_dependency_has_a_lowest_version() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    for each in [*PYPROJECT["project"]["dependencies"], *(d for extra in extras for d in extra)]:
        assert ">=" in each or each.startswith("netspec-dsl["), each


# ---------------------------------------------------------------------------------------- addresses


def test_addresses_come_from_one_constant() -> None:
    assert PYPROJECT["project"].get("urls", {}).get("Repository", "") == project.REPOSITORY
    pages = [
        ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
    ]
    files = [*pages, *(ROOT / "netspec").rglob("*.py"), *(ROOT / ".github").rglob("*.*")]
    for path in files:
        for host, rest in re.findall(r"https?://([\w.-]+)(\S*)", path.read_text("utf-8")):
            # Code has addresses of data sets and papers, but none of netspec's.
            assert host in THEIRS or (path.suffix == ".py" and "netspec" not in rest), (
                f"{path}: {host}"
            )


def test_an_internal_error_says_where_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    assert project.where_to_report() == ""
    monkeypatch.setattr(project, "REPOSITORY", "https://example.org/netspec")
    assert project.where_to_report() == " at https://example.org/netspec/issues"


def test_a_code_leads_to_its_page_or_to_the_command(
    monkeypatch: pytest.MonkeyPatch, run: Run, write: Write
) -> None:
    path = write("net A { input x: [4]\n output x -> cnv(3) }")
    told = run("check", path, "--color", "always").err
    assert "more: netspec explain name/unknown-layer\x1b" in told
    assert "more:" not in run("check", path).err
    assert project.page_about("name/unknown-layer") is None
    monkeypatch.setattr(project, "SITE", "https://example.org/site")
    told = run("check", path, "--color", "always").err
    assert "more: https://example.org/site/codes/name/unknown-layer.html\x1b" in told
