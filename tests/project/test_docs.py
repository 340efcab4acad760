"""The documentation is true: samples compile, commands run, and tables match the code.

A fenced block says in its first line what it is:

    net                     a file that compiles without a warning
    net body                statements of a net with the input `image: [3, 16, 16]`
    net ... error: CODE     the one error it has; `warning:` works the same, empty for none
    net ... file: NAME      the file is there for the blocks after it
    console                 `$ netspec ...` and what it prints; a line `...` stands for any lines
    python                  runs, in the order of the page
    python file: PATH       the whole of a file of the repository
    toml                    a recipe, or a sweep
    text                    nothing that could be run

Console and Python blocks run in a folder that has the repository's `networks` and `docs`.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import Signature, getsource
from inspect import signature as signature_of
from pathlib import Path
from typing import Any

import pytest

import netspec
from netspec import cli
from netspec.compiler import parse
from netspec.compiler.analysis.costs_text import COLUMNS
from netspec.compiler.driver import Request, compile_request
from netspec.compiler.elaborate import net_builder as assembly
from netspec.compiler.elaborate.arguments import signature
from netspec.compiler.explain_codes import explanations
from netspec.compiler.ir import attributes, constants
from netspec.compiler.ir.aten_form import AtenCall
from netspec.compiler.ir.initializers import RULES
from netspec.compiler.ir.onnx_form import OnnxForm
from netspec.compiler.ir.onnx_read import OnnxReader
from netspec.compiler.ir.op import Finding, Fix, Op, ShapeError
from netspec.compiler.ir.plan import Lowering
from netspec.compiler.ops import registry
from netspec.compiler.ops.families import recurrent
from netspec.compiler.parse import layout
from netspec.compiler.parse import loader as modules
from netspec.compiler.parse import tree_builder as tree
from netspec.compiler.passes import layer_limit
from netspec.runtime.runs import recipe
from netspec.runtime.runs.recipe import read_recipe
from netspec.runtime.runs.resolve import resolve
from netspec.runtime.runs.sweeps.sweep_file import read_sweep
from tests.conftest import ROOT, Run

PAGES = (
    "README.md",
    "docs/tutorial.md",
    "docs/coming-from.md",
    "docs/check.md",
    "docs/summarize.md",
    "docs/compile.md",
    "docs/verify.md",
    "docs/training.md",
    "docs/weights.md",
    "docs/bench.md",
    "docs/python.md",
    "docs/stable.md",
    "docs/language.md",
    "docs/layers.md",
    "docs/command-line.md",
    "docs/add-an-op.md",
    "docs/course.md",
    "docs/serving.md",
    "docs/engines.md",
    "docs/scale.md",
    "docs/onnx.md",
)
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGE, LAYERS, CHECK, SUMMARIZE, COMMANDS = (
    (ROOT / f"docs/{name}.md").read_text("utf-8")
    for name in ("language", "layers", "check", "summarize", "command-line")
)


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    kind: str
    options: str
    text: str

    def option(self, name: str) -> str | None:
        found = re.search(rf"\b{name}:\s*([\w/.-]*)", self.options)
        return found[1] if found else None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*kinds: str) -> Iterator[Block]:
    for page in PAGES:
        text = (ROOT / page).read_text("utf-8")
        for found in FENCE.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            if found[1] in kinds:
                yield Block(page, line, found[1], found[2], found[3])


def as_file(block: Block) -> str:
    if "body" not in block.options.split():
        return block.text
    body = block.text
    if not re.search(r"^\s*output\b", body, re.MULTILINE):
        body += "output image -> relu\n"
    return f"net Sample() {{\ninput image: [3, 16, 16]\n{body}}}\n"


def files(page: str) -> dict[str, str]:
    named = ((b.option("file"), b.text) for b in blocks("net") if b.page == page)
    return {name: text for name, text in named if name}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("networks", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", [*blocks("net")], ids=str)
def test_a_sample_compiles(block: Block, tmp_path: Path) -> None:
    for name, text in files(block.page).items():
        (tmp_path / name).write_text(text, "utf-8")
    path = tmp_path / (block.option("file") or "sample.net")
    path.write_text(as_file(block), "utf-8")
    result = compile_request(Request(path=path))
    found = [d.code for d in result.diagnostics]
    expected = block.option("error") or block.option("warning")
    assert found == ([expected] if expected else []), "\n".join(map(str, result.diagnostics))
    for name in result.graphs if importlib.util.find_spec("torch") else ():
        source = netspec.load(path, net=name).source("torch")
        made: dict[str, Any] = {}
        exec(compile(source, f"<{name}>", "exec"), made)
        made[name]()


def console_blocks() -> Iterator[Any]:
    """Yield all blocks of commands; those that measure or verify nets take many seconds and are heavy."""
    for block in blocks("console"):
        slow = re.search(r"^\$ netspec (bench|gradcheck|verify) ", block.text, re.MULTILINE)
        yield pytest.param(block, id=str(block), marks=[pytest.mark.heavy] if slow else [])


@pytest.mark.parametrize("block", [*console_blocks()])
def test_a_console_block_shows_what_happens(block: Block, folder: Path, run: Run) -> None:
    for name, text in files(block.page).items():
        (folder / name).write_text(text, "utf-8")
    for command, shown in commands(block):
        program, *arguments = shlex.split(command, comments=True)
        if program == "make":
            assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        elif program == "netspec":
            check_command(arguments, shown, run)
        elif program == "torchrun":
            at = arguments.index("-m")
            assert arguments[at : at + 3] == ["-m", "netspec", "train"]
            check_command(arguments[at + 2 :], shown, run)
        else:
            assert program in ("pip", "git", "cd"), f"{command}: say how to test this"


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block, with the lines that follow it."""
    assert block.text.startswith("$ ")
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.replace("\\\n", "").partition("\n")
        yield command, shown.strip()


def check_command(arguments: list[str], shown: str, run: Run) -> None:
    if arguments[0] in ("train", "sweep"):
        # It takes too long to run here, so only its options are parsed.
        cli.parse(arguments)
        return
    finished = run(*arguments)
    assert finished.code in (0, 1), finished.err
    if shown:
        printed = (finished.err + finished.out).strip()
        lines = (
            r"(?:.*\n)*?" if line.strip() == "..." else re.escape(line.rstrip()) + r"\n"
            for line in shown.splitlines()
        )
        assert re.fullmatch("".join(lines), printed + "\n"), printed


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page == "docs/onnx.md":
        pytest.importorskip("onnx", reason="onnx is not installed")
    if page == "docs/engines.md":
        monkeypatch.setattr(sys, "path", [*sys.path])
        for library in ("lightning", "accelerate"):
            pytest.importorskip(library, reason=f"{library} is not installed")
    for name, text in files(page).items():
        (folder / name).write_text(text, "utf-8")
    names: dict[str, Any] = {}
    for block in blocks("python"):
        if block.page == page and block.option("file") is None:
            exec(compile(block.text, str(block), "exec"), names)


@pytest.mark.parametrize("block", [b for b in blocks("python") if b.option("file")], ids=str)
def test_a_file_that_is_shown_is_that_file(block: Block) -> None:
    assert block.text == (ROOT / str(block.option("file"))).read_text("utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_known_kind(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    known = {"net", "console", "python", "text", "toml"}
    opened = re.findall(r"^```(\w*)[^\n]*\n.*?^```$", text, re.MULTILINE | re.DOTALL)
    assert set(opened) <= known


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_recipes_are_sound(block: Block, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(block.text, "utf-8")
    if re.search(r"^\[(?:sweep|search)", block.text, re.MULTILINE):
        assert read_sweep(tmp_path / "recipe.toml").grid()
    else:
        assert resolve({}, read_recipe(tmp_path / "recipe.toml"))


OTHERS = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "editors/README.md")


def test_the_readme_is_one_screen() -> None:
    """What it is, a picture, an error, two commands and links; all else has a page."""
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 70
    assert len(re.findall(r"^\$ make ", text, re.MULTILINE)) == 2
    linked = set(re.findall(r"\]\((docs/[^)\s]+\.md)\)", text))
    assert linked == {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}


@pytest.mark.parametrize("page", [*PAGES, *OTHERS])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    images = re.findall(r'<img [^>]*src="([^"]+)"', text)
    for target in [*images, *re.findall(r"\]\(([^)\s]+)\)", text)]:
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif "://" not in target:
            assert ((ROOT / page).parent / target.partition("#")[0]).exists(), target


# ------------------------------------------------------------------------------- tables of the code


def summary_of(op: type[Op]) -> str:
    assert op.__doc__ is not None
    return op.__doc__.splitlines()[0].replace("|", r"\|")


def layer_row(op: type[Op]) -> str:
    return f"| `{signature(op).removesuffix('()')}` | {summary_of(op)} |"


def attribute_rows(op: type[Op]) -> list[str]:
    return [
        f"| `{op.name}` | `{name}` | {op.kind(name).describe()} | {field.metadata['doc']} |"
        for name, field in op.attributes().items()
    ]


@pytest.mark.parametrize("op", registry().values(), ids=lambda op: op.name)
def test_the_tables_say_what_a_layer_is(op: type[Op]) -> None:
    rows = [layer_row(op), *attribute_rows(op)]
    missing = [row for row in rows if row not in LAYERS.splitlines()]
    assert not missing, "docs/layers.md lacks\n" + "\n".join(missing)


def test_the_tables_name_no_layer_that_is_gone() -> None:
    named = re.findall(r"^\| `(\w+)(?:\(.*\))?` \| [^`]", LAYERS, re.MULTILINE)
    assert len(named) == len(set(named))
    assert set(named) <= set(registry())
    section = LANGUAGE.partition("## Layers")[2].partition("\n## ")[0]
    listed = [
        name
        for row in re.findall(r"^\| [a-z].* \| (.*) \|$", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    ]
    assert listed == named


def test_the_language_is_read_in_an_evening() -> None:
    assert len(LANGUAGE.split()) <= 6_500
    assert len((ROOT / "netspec/grammar.lark").read_text("utf-8").splitlines()) <= 100


LIMITS = (
    f"a file, with those that it imports | {parse.MAX_FILE_BYTES // 1024:,} KiB",
    f"a recipe | {recipe.MAX_LENGTH // 1024} KiB",
    f"files imported | {modules.MAX_FILES}",
    f"brackets in each other | {layout.MAX_NESTING}",
    f"blocks in each other | {assembly.MAX_CALLS_DEEP}",
    "steps of a file, loops and blocks written out; a layer is three, a call of a block four"
    f" | {assembly.MAX_WORK:,}",
    f"recurrent layers above each other, `lstm(64, layers = 2)` | {recurrent.MOST_STACKED:,}",
    f"layers of a net that is compiled, drawn or compared | {layer_limit.MAX_LAYERS:,}",
    f"layers, inputs of layers, calls and names of a net that is compiled | {layer_limit.MAX_PARTS:,}",
    f"layers and calls in the blocks of a PyTorch module, with {layer_limit.CLASS} for each block"
    f" | {layer_limit.MAX_IN_CLASSES:,}",
    "names that the text of a PyTorch module gives to constants,"
    f" with {layer_limit.IN_A_BLOCK} for one in a block | {layer_limit.MAX_CONSTANTS:,}",
    "layers in the text of a PyTorch module, those of a loop counted once"
    f" | {layer_limit.MAX_WRITTEN_FOR_TORCH:,}",
    f"layers of a standalone file | {layer_limit.MAX_STANDALONE:,}",
    f"layers of a C file that trains | {layer_limit.MAX_TRAINED_IN_C:,}",
    f"operators of an ONNX model | {layer_limit.MOST_OPERATORS:,}",
    f"layers of a net that is summarized | {layer_limit.MAX_LISTED:,}",
    f"items of a list or turns of a loop | {constants.MAX_ITEMS:,}",
    f"characters of a number | {tree.MAX_NUMBER_LENGTH}",
    f"a whole number | {constants.MAX_MAGNITUDE:.0e}".replace("e+", "e"),
    f"numbers in one value or parameter | {assembly.MAX_ELEMENTS:,}",
)


@pytest.mark.parametrize("row", LIMITS)
def test_the_limits_are_those_of_the_code(row: str) -> None:
    assert f"| {row} |" in LANGUAGE.splitlines()


@pytest.mark.parametrize("name", [*constants.FUNCTIONS, *RULES])
def test_every_function_and_rule_is_in_the_reference(name: str) -> None:
    assert re.search(rf"`{name}\b", LANGUAGE)


def section(title: str) -> str:
    """Return a section of the page on ops."""
    page = (ROOT / "docs/add-an-op.md").read_text("utf-8")
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_contract_of_an_op_is_complete() -> None:
    members = [name for name in (*Op.__annotations__, *vars(Op)) if not name.startswith("_")]
    named = re.findall(r"^\| `(\w+)`", section("The contract"), re.MULTILINE)
    assert sorted(named) == sorted(set(members))


def member_cells(own: str, kind: type) -> list[str]:
    """Return the public members of a class, with their parameters, as a table names them."""
    fields = {*kind.__annotations__, *re.findall(r"self\.([a-z]\w*)\b[^=\n]* = ", getsource(kind))}
    found = {f"{own}.{name}" for name in fields if not name.startswith("_")}
    for name, member in vars(kind).items():
        called = getattr(member, "__func__", member)
        if name.startswith("_") and name not in ("__call__", "__getitem__"):
            continue
        if isinstance(member, property):
            found.add(f"{own}.{name}")
        elif callable(called):
            unnamed = [
                p.replace(annotation=p.empty) for p in signature_of(called).parameters.values()
            ]
            taken = unnamed if isinstance(member, staticmethod) else unnamed[1:]
            ends = str(Signature(taken))
            shown = {"__call__": f"{own}{ends}", "__getitem__": f"{own}[{ends[1:-1]}]"}
            found.add(shown.get(name, f"{own}.{name}{ends}"))
    return sorted(found)


# What a table adds to fields that are called.
CALLED_FIELDS = {
    OnnxForm: {"size_of(dim)", "typed_input(index, number)"},
    OnnxReader: {
        "array(value)", "sizes(value)", "last_with(axis, dim)", "search(operator, text)",
        "match(operator, op, inputs)",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("title", "own", "kind"),
    [
        ("What lower writes with", "to", Lowering),
        ("ONNX, out and back", "to", OnnxForm),
        ("ONNX, out and back", "read", OnnxReader),
        ("PyTorch's calls", "call", AtenCall),
    ],
)
def test_what_an_op_is_given_is_told_in_full(title: str, own: str, kind: type) -> None:
    cells = re.findall(rf"^\| `({own}\b[^`]*)` \| \S", section(title), re.MULTILINE)
    for call in CALLED_FIELDS.get(kind, ()):
        cells[cells.index(f"{own}.{call}")] = f"{own}.{call.partition('(')[0]}"
    assert sorted(cells) == member_cells(own, kind)


def test_what_errors_and_warnings_say_is_told_in_full() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section("Errors and warnings"), re.MULTILINE)
    told = [list(signature_of(kind).parameters) for kind in (ShapeError, Fix)]
    assert rows == [*told[0], "node", *told[1]]
    assert set(signature_of(Finding).parameters) == {*told[0], "node"}


def test_the_kinds_of_attributes_are_complete() -> None:
    page = section("An op with attributes")
    found = [k for k in attributes.Kind.__subclasses__() if k.__module__ == attributes.__name__]
    kinds = {kind.__name__ for kind in found} - {"PartsOf"}
    assert set(re.findall(r"^\| `(\w+)\(.*\)`", page, re.MULTILINE)) == kinds
    for call, described in re.findall(r"^\| `(\w+\(.*\))` \| (.*) \|$", page, re.MULTILINE):
        assert eval(call, vars(attributes)).describe() == described


def test_the_public_api_is_listed_as_stable() -> None:
    table = (ROOT / "docs/stable.md").read_text("utf-8").partition("## The Python API")[2]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    public = [name for name in netspec.__all__ if not name.startswith("_")]
    assert sorted(named) == sorted(public)


@pytest.mark.parametrize(("verb", "about"), cli.VERBS.items())
def test_every_verb_is_in_the_reference(verb: str, about: str) -> None:
    assert f"| `{verb}` | {about} |" in COMMANDS.splitlines()


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_of_a_summary_is_in_the_reference(column: str) -> None:
    assert re.search(rf"^\| `{column}` \|", SUMMARIZE, re.MULTILINE)


def test_every_warning_is_in_the_reference() -> None:
    section = CHECK.partition("## Warnings")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `([a-z]+/[a-z-]+)`", section, re.MULTILINE)
    assert set(found) <= set(explanations())
    bad = (ROOT / "tests/language/bad").glob("*.txt")
    shown = {code for p in bad for code in re.findall(r"^warning\[(.*?)\]", p.read_text(), re.M)}
    assert shown <= set(found)
