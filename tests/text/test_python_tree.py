"""Python's parser on text of any origin."""

from __future__ import annotations

import ast
import warnings

import pytest

from netspec.text.python_tree import parse_expression, parse_python
from tests.conftest import Run, Write


def test_it_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parse_python("x = 0and 1\ny = '\\d'\n1 is 1\n")


def test_an_expression_is_the_only_thing_in_its_text() -> None:
    assert ast.literal_eval(parse_expression(" ['a', 1]\n")) == ["a", 1]
    for text in ("", "x = 1", "1; 2", "1\n2"):
        with pytest.raises(SyntaxError):
            parse_expression(text)


def test_check_of_a_python_file_shows_our_message_alone(write: Write, run: Run) -> None:
    path = write("import torch\nx = 0and 1\n1if 2 else 3\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = run("check", path)
    assert "this is Python" in result.err + result.out
    assert "SyntaxWarning" not in result.err
