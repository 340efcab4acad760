"""Which module may import which, and other rules of the project that a test can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "netspec"
FILES = sorted(PACKAGE.rglob("*.py"))
OLD_COURSE_PATHS = ("fast", "naive", "sandwich", "stages")

# The house: its floors from the ground up, and the rooms on each. A room may import itself and
# rooms on lower floors, but no other room on its own floor. A module belongs to the longest prefix
# that fits.
FLOORS = [
    {
        "collector": ["collector"],
        "fork_lock": ["fork_lock"],
        "records": ["records"],
        "workers": ["workers"],
    },
    {"text": ["text"], "files": ["files"], "kernels": ["kernels"]},
    {
        "diagnostics": ["diagnostics", "codes", "project"],
        "kernels/course": ["kernels.course", *(f"kernels.{old}" for old in OLD_COURSE_PATHS)],
    },
    {"compiler/syntax": ["compiler.syntax"]},
    {"compiler/ir": ["compiler.ir"]},
    {"compiler/ops": ["compiler.ops"], "compiler/passes": ["compiler.passes"]},
    {"compiler/parse": ["compiler.parse"]},
    {"compiler/elaborate": ["compiler.elaborate"]},
    {"compiler/analysis": ["compiler.analysis"]},
    {
        "compiler/numpy_backend": ["compiler.numpy_backend"],
        "compiler/torch_backend": ["compiler.torch_backend"],
        "compiler/onnx_backend": ["compiler.onnx_backend"],
        "compiler/fmt": ["compiler.fmt"],
    },
    {"compiler/c_backend": ["compiler.c_backend"]},
    {"compiler/driver": ["compiler"]},
    {"highlight": ["highlight"]},
    {"draw": ["draw"], "runtime/engine": ["runtime.engine"], "runtime/data": ["runtime.data"]},
    {"language_server": ["language_server"], "runtime/weights": ["runtime.weights"]},
    {"runtime/optim": ["runtime.optim"], "runtime/plots": ["runtime.plots"]},
    {"runtime/models": ["runtime.models"]},
    {"runtime/training": ["runtime.training"]},
    {"runtime/runs": ["runtime.runs"], "runtime/inference": ["runtime.inference"]},
    {
        "runtime/engines": ["runtime.engines"],
        "tools/agreement": ["tools.agreement"],
        "export": ["export"],
    },
    {
        "tools/bench": ["tools.bench"],
        "tools/verify": ["tools.verify"],
        "tools/gradcheck": ["tools.gradcheck"],
    },
    {"tools/doctor": ["tools.doctor"]},
    {"imports": ["imports"]},
    {"api": ["net", "runtime", "tools", ""]},
    {"testing": ["testing"]},
    {"cli": ["cli", "__main__"]},
]
ROOMS = {
    f"netspec.{prefix}".rstrip("."): (room, floor)
    for floor, rooms in enumerate(FLOORS)
    for room, prefixes in rooms.items()
    for prefix in prefixes
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_and_floor(module: str) -> tuple[str, int]:
    """Return the room and the floor of a module: the longest name in the table that fits."""
    parts = module.split(".")
    names = (".".join(parts[:cut]) for cut in range(len(parts), 0, -1))
    return next(ROOMS[name] for name in names if name in ROOMS)


def imports(path: Path) -> set[str]:
    """Return the modules of netspec that a file imports, anywhere in it."""
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


def runs_backward(module: str, target: str) -> bool:
    room, floor = room_and_floor(module)
    target_room, target_floor = room_and_floor(target)
    return room != target_room and target_floor >= floor


@pytest.mark.parametrize("path", FILES, ids=map(module_name, FILES))
def test_imports_run_one_way(path: Path) -> None:
    """Imports inside functions and under TYPE_CHECKING count too."""
    module = module_name(path)
    backward = [
        f"{module} ({room_and_floor(module)[0]}) must not import {target} ({room_and_floor(target)[0]})"
        for target in sorted(imports(path))
        if target.split(".")[0] == "netspec" and runs_backward(module, target)
    ]
    assert not backward


def mapped_rooms() -> dict[str, Path]:
    """Return the rooms in ARCHITECTURE.md's code map, in its order, with the file to start at."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z_/]+)` \| .+ \| `([\w/]+\.py)` \|$", text, re.MULTILINE)
    return {room: ROOT / start for room, start in rows}


def test_the_code_map_has_every_room_in_order_and_no_other() -> None:
    assert list(mapped_rooms()) == [room for floor in FLOORS for room in floor]


def test_each_room_starts_at_a_file_of_its_own() -> None:
    for room, start in mapped_rooms().items():
        assert start.is_file(), start
        assert room_and_floor(module_name(start))[0] == room


def test_every_room_is_a_place_and_every_folder_is_in_a_room_of_its_name() -> None:
    assert {room_and_floor(module_name(path))[0] for path in FILES} == set(mapped_rooms())
    for folder in {path.parent for path in FILES} - {PACKAGE}:
        room, _ = room_and_floor(f"{module_name(folder / '__init__.py')}")
        name = folder.relative_to(PACKAGE).as_posix()
        holders = ("compiler", "runtime", "tools")  # folders of rooms
        assert name in holders or f"{name}/".startswith(f"{room}/"), f"{name} is in {room}"


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("netspec.kernels.batch_norm", "netspec.compiler.ir.op"),
        ("netspec.kernels.batch_norm", "netspec.kernels.course.fast"),
        ("netspec.compiler.numpy_backend.emit", "netspec.compiler.torch_backend.emit"),
        ("netspec.compiler.ops.conv", "netspec.compiler.driver"),
        ("netspec.runtime.data.idx", "netspec.runtime.engine.program"),
        ("netspec.net", "netspec.cli"),
    ],
)
def test_arrows_that_run_backward_are_seen(module: str, target: str) -> None:
    assert runs_backward(module, target)
    assert not runs_backward(module, module)


def test_no_module_imports_by_relative_path() -> None:
    """The table is about absolute imports; a relative one would not be seen."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), module_name(path)


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
    assert not re.search(r"import .*compiler\.ops\.\w|from netspec\.compiler\.ops\.\w", text)


FRONT_END = sorted((PACKAGE / "compiler/elaborate").glob("*.py"))
TYPED = FRONT_END + sorted((PACKAGE / "compiler/ir").glob("*.py"))


# From text to graph to source. Each op is a class of its own, and its family has what it shares.
TRUNK = [path for path in sorted((PACKAGE / "compiler").rglob("*.py")) if "ops" not in path.parts]


@pytest.mark.parametrize("path", TRUNK, ids=map(module_name, TRUNK))
def test_no_class_of_the_trunk_is_continued_in_another_file(path: Path) -> None:
    """Parts are passed what they use, and do not inherit from each other.

    Errors have families, and `Op` is what all kinds of layers must have.
    """
    tree = ast.parse(path.read_text("utf-8"))
    room, _ = room_and_floor(module_name(path))
    peers = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("netspec")
        if room_and_floor(node.module or "")[0] == room
        for alias in node.names
    }
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    bases = [(c.name, ast.unparse(b)) for c in classes for b in c.bases]
    chains = [(c, base) for c, base in bases if base in peers and base != "Op"]
    assert not [c for c, base in chains if not base.endswith("Error")]


def said(tree: ast.AST) -> list[tuple[str, str]]:
    """Yield the annotations of public functions and fields, by name."""
    found = []
    for node in ast.iter_child_nodes(tree):
        name = getattr(node, "name", None) or ast.unparse(getattr(node, "target", ast.Name("")))
        if name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            found += said(node)
        elif isinstance(node, ast.FunctionDef):
            arguments = [*node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
            parts = [node.returns, *(a.annotation for a in arguments if a is not None)]
            found += [(name, ast.unparse(part)) for part in parts if part is not None]
        elif isinstance(node, ast.AnnAssign):
            found.append((name, ast.unparse(node.annotation)))
    return found


@pytest.mark.parametrize("path", TYPED, ids=map(module_name, TYPED))
def test_the_front_end_and_the_graph_say_what_their_values_are(path: Path) -> None:
    """`NDArray[Any]`, an array of any numbers, and the type of an op's field are allowed."""
    for name, annotation in said(ast.parse(path.read_text("utf-8"))):
        is_open = re.search(r"\bAny\b", annotation.replace("NDArray[Any]", ""))
        assert not is_open or name == "attribute", (name, annotation)


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
from netspec.compiler.driver import Request, compile_request
load_tables()  # builds and keeps them where nobody has before
sys.modules.pop("lark", None)
for path in sorted(Path("networks").rglob("*.net")):
    assert not compile_request(Request(path=path)).errors
print([m for m in ("numpy", "numexpr", "networkx", "torch", "sklearn", "lark") if m in sys.modules])
"""
    assert run(code).strip() == "[]"


def test_the_command_check_loads_nothing_that_it_does_not_use() -> None:
    code = """
import sys
from netspec import cli
assert cli.main(["check", "--quiet", "networks/lenet.net"]) == 0
unused = {"numpy", "torch", "lark", "subprocess", "difflib"}
if sys.platform == "linux":
    unused.add("platformdirs")  # see `cache_folder`
print(sorted(unused & sys.modules.keys()))
"""
    assert run(code).splitlines()[-1] == "[]"


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_a_program_is_written_without_numpy(target: str, tmp_path: Path) -> None:
    code = f"""
import sys
from netspec import cli
out = {str(tmp_path / "lenet.py")!r}
assert cli.main(["compile", "networks/lenet.net", "--target", {target!r}, "-o", out]) == 0
print(sorted({{"numpy", "torch"}} & sys.modules.keys()))
"""
    assert run(code).splitlines()[-1] == "[]"
