"""Who may import whom, and other rules of the house that a machine can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "netspec"
FILES = sorted(PACKAGE.rglob("*.py"))

# Each layer may import itself and those before it. The first pattern that fits a module counts.
LAYERS = [
    ("kernels", r"netspec\.kernels\b"),
    ("ops", r"netspec\.compiler\.ops\b"),
    ("compiler", r"netspec\.compiler\b"),
    ("runtime", r"netspec\.runtime\b"),
    ("api", r"netspec(\.net)?$"),
    ("testing", r"netspec\.testing\b"),
    ("cli", r"netspec\.(cli|__main__)\b"),
]
ORDER = ["kernels", "base", "ops", "compiler", "runtime", "api", "testing", "cli"]
# `registry` finds the files of the ops when it is first called.
ALLOWED = {("netspec.compiler.op", "netspec.compiler.ops")}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(module: str) -> str:
    if module in BASE:
        return "base"
    return next(name for name, pattern in LAYERS if re.match(pattern, module))


def imports(path: Path) -> set[str]:
    """The modules of netspec that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                is_module = (ROOT / whole.replace(".", "/")).with_suffix(".py").exists()
                is_package = (ROOT / whole.replace(".", "/")).is_dir()
                found.add(whole if is_module or is_package else node.module)
    return found


# What ops are made from is the base: it may import nothing that is not base itself.
BASE = {"netspec.diagnostics", "netspec.compiler.symbolic", "netspec.compiler.syntax"} | {
    name
    for path in (PACKAGE / "compiler/ops").glob("*.py")
    for name in imports(path)
    if name.startswith("netspec.compiler.")
}


@pytest.mark.parametrize("path", FILES, ids=map(module_name, FILES))
def test_imports_run_one_way(path: Path) -> None:
    module = module_name(path)
    for target in imports(path):
        if target.split(".")[0] != "netspec" or (module, target) in ALLOWED:
            continue
        below = ORDER.index(layer(target)) <= ORDER.index(layer(module))
        assert below, f"{module} must not import {target}"


@pytest.mark.parametrize("path", FILES, ids=map(module_name, FILES))
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400


def test_only_the_parser_knows_lark() -> None:
    users = {
        module_name(path)
        for path in FILES
        if any(name.split(".")[0] == "lark" for name in imports(path))
    }
    assert users
    assert all(user.startswith("netspec.compiler.parse") for user in users)


@pytest.mark.parametrize("path", sorted((PACKAGE / "compiler/ops").glob("[!_]*.py")), ids=str)
def test_an_op_file_registers_one_op(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    registered = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and any(isinstance(d, ast.Name) and d.id == "register" for d in node.decorator_list)
    ]
    assert len(registered) == 1
    names = [
        target.value.value
        for target in registered[0].body
        if isinstance(target, ast.Assign)
        and getattr(target.targets[0], "id", "") == "name"
        and isinstance(target.value, ast.Constant)
    ]
    assert names == [path.stem]


@pytest.mark.parametrize("path", FILES, ids=map(module_name, FILES))
def test_nobody_asks_which_op_a_node_is(path: Path) -> None:
    if "ops" in path.parts:
        return
    text = path.read_text("utf-8")
    assert not re.search(r"\.op\.name\s*(==|!=|in\b)", text)
    assert not re.search(r"isinstance\([\w.]*\.op\b", text)
    assert not re.search(r"import .*compiler\.ops\.\w|from netspec\.compiler\.ops", text)


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_checking_loads_nothing_heavy() -> None:
    code = """
import sys
from pathlib import Path
from netspec.compiler.parse.tables import load_tables
from netspec.compiler.pipeline import Request, compile_request
load_tables()  # builds and keeps them where nobody has before
sys.modules.pop("lark", None)
for path in sorted(Path("networks").rglob("*.net")):
    assert not compile_request(Request(path=path)).errors
print([m for m in ("numpy", "numexpr", "networkx", "torch", "sklearn", "lark") if m in sys.modules])
"""
    assert run(code).strip() == "[]"
