"""The catalogue of errors: each code is declared once, explained, reported somewhere and shown."""

from __future__ import annotations

import ast
import copy
import functools
import pickle
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from netspec import codes
from netspec.compiler.explain_codes import explanations, pages
from netspec.compiler.ops import registry
from netspec.diagnostics import Code, Diagnostic, declared_codes

PACKAGE = Path(codes.__file__).parent
CATALOGUE = {name: code for name, code in vars(codes).items() if isinstance(code, Code)}


def all_codes() -> dict[str, Code]:
    """Return the codes of the catalogue, and those that ops declare."""
    list(registry().values())
    return dict(declared_codes())


@functools.cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def declarations(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the texts of codes in `Code.error(...)` and `Code.warning(...)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Code.error", "Code.warning"):
            text = node.args[0]
            assert isinstance(text, ast.Constant)
            yield text


def named_codes(tree: ast.Module) -> set[str]:
    """Return the declarations of the catalogue to which a module refers."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value) == "codes"
        and node.attr.isupper()
    }


def front_end_codes() -> set[Code]:
    """Return the codes that the front end reports about a file, without those of ops."""
    named: set[str] = set()
    for path, tree in trees().items():
        parts = path.relative_to(PACKAGE).parts
        if parts[0] == "compiler" and parts[1] != "ops" and not parts[1].endswith("_backend"):
            named |= named_codes(tree)
    # Settings, requirements and how verbs are used are about the command line, and the codes of ops
    # are in their bad examples.
    shown_by_ops = {bad.code for op in registry().values() for bad in op.bad_examples}
    return {
        code
        for code in map(CATALOGUE.__getitem__, named)
        if not code.startswith(("setting/", "require/", "usage/"))
        and (code not in shown_by_ops or code.startswith("call/"))
    }


def test_there_are_many() -> None:
    assert len(all_codes()) > 150


def test_each_code_is_declared_once() -> None:
    times = Counter(text.value for tree in trees().values() for text in declarations(tree))
    assert {text: count for text, count in times.items() if count > 1} == {}
    assert set(times) == set(all_codes())


def test_no_text_stands_for_a_code() -> None:
    known = all_codes()
    texts = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.value}"
        for path, tree in trees().items()
        for declared in [set(declarations(tree))]
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in known and node not in declared
    ]
    assert texts == []


def test_each_code_of_the_catalogue_is_reported() -> None:
    named = set().union(*map(named_codes, trees().values()))
    assert set(CATALOGUE) == named


def test_a_declaration_is_named_like_its_code() -> None:
    for name, code in CATALOGUE.items():
        assert name == re.sub("[/-]", "_", code).upper()


def test_the_catalogue_is_in_order() -> None:
    assert list(CATALOGUE.values()) == sorted(CATALOGUE.values())


@pytest.mark.parametrize("code", all_codes().values(), ids=str)
def test_a_declaration_says_what_is_wrong_on_one_line(code: Code) -> None:
    assert re.fullmatch(r"[a-z]+/[a-z0-9]+(-[a-z0-9]+)*", code)
    assert code.severity in ("error", "warning")
    assert 10 < len(code.summary) < 80
    assert not re.search(r"\n|[.:]$", code.summary)


def test_each_declaration_has_its_page_and_each_page_its_declaration() -> None:
    """The page of a code that an op declares may also be made from a bad example of the op."""
    written = [code for code, _ in pages()]
    assert len(written) == len(set(written))
    assert set(CATALOGUE.values()) - set(written) == set()
    assert set(written) - set(all_codes()) == set()
    assert set(explanations()) == set(all_codes())


def test_a_code_stands_in_the_file_of_its_area() -> None:
    for path in (PACKAGE / "explain").glob("*.md"):
        found = re.findall(r"^## (\w+)/", path.read_text("utf-8"), re.MULTILINE)
        assert set(found) == {path.stem}


def test_a_code_is_its_text() -> None:
    rank = codes.SHAPE_RANK
    assert rank == "shape/rank"
    assert rank in {"shape/rank"}
    assert f"{rank}" == "shape/rank"
    assert Diagnostic(rank, "m").severity == "error"
    assert Diagnostic(codes.GRAPH_UNUSED, "m").severity == "warning"
    for copied in (copy.deepcopy(rank), copy.copy(rank), pickle.loads(pickle.dumps(rank))):
        assert (copied, copied.severity, copied.summary) == (rank, rank.severity, rank.summary)


def test_two_declarations_of_one_code_are_refused() -> None:
    rank = codes.SHAPE_RANK
    assert Code.error(str(rank), rank.summary) is rank
    with pytest.raises(ValueError, match="shape/rank"):
        Code.error("shape/rank", "something else")
    with pytest.raises(ValueError, match="shape/rank"):
        Code.warning("shape/rank", rank.summary)
    assert declared_codes()["shape/rank"] is rank
