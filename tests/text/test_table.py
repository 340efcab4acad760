"""The table printer: alignment, totals, and how tables keep to the width of a terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec.text.table import Column, end_cut, middle_cut, name_column, table_lines, text_column
from netspec.text.width import columns_of

ROOT = Path(__file__).parents[2]
COLUMNS = [name_column("layer"), text_column("op", least=6), Column("params")]
ROWS = [
    ("layer1.block_of_many.conv1", "conv(64, 3, pad = 1)", "1,024"),
    ("相加", "add", ""),
]


def lines(**options: object) -> list[str]:
    return list(table_lines(COLUMNS, ROWS, **options))  # type: ignore[arg-type]


def test_words_begin_and_numbers_end_at_the_edges_of_their_columns() -> None:
    assert lines(total=("total", "", "1,024")) == [
        "layer                       op                    params",
        "--------------------------------------------------------",
        "layer1.block_of_many.conv1  conv(64, 3, pad = 1)   1,024",
        "相加                        add",
        "--------------------------------------------------------",
        "total                                              1,024",
    ]
    assert lines(titled=False)[0] == "layer1.block_of_many.conv1  conv(64, 3, pad = 1)   1,024"


def test_a_name_stays_in_its_row() -> None:
    """The name of a class may come from a folder of any origin."""
    odd = table_lines(COLUMNS, [("one\n9,999", "relu", "0"), ("a\u2028b\x1b[2J", "relu", "12")])
    assert list(odd)[2:] == ["one\\n9,999       relu       0", "a\\u2028b\\x1b[2J  relu      12"]


def test_a_narrow_table_cuts_names_and_calls_and_never_numbers() -> None:
    assert lines(width=42) == [
        "layer             op                params",
        "------------------------------------------",
        "layer1...y.conv1  conv(64, 3, p...   1,024",
        "相加              add",
    ]


@given(st.integers(1, 80), st.lists(st.text("ab. 相", max_size=40), min_size=1, max_size=4))
def test_a_table_is_as_narrow_as_it_may_be(width: int, names: list[str]) -> None:
    rows = [(name, name, "12,345") for name in names]
    floor = 12 + 6 + 6 + 4
    shown = list(table_lines(COLUMNS, rows, width=width))
    assert max(map(columns_of, shown)) <= max(width, floor)
    assert all("12,345" in line for line in shown[2:])
    assert max(map(columns_of, shown)) <= max(map(columns_of, table_lines(COLUMNS, rows)))


@pytest.mark.parametrize("cut", [end_cut, middle_cut])
def test_a_cut_text_is_marked_and_no_wider_than_asked(cut: object) -> None:
    for width in range(4, 20):
        shown = cut("abcdefghijklmnopqrstuvwxyz", width)  # type: ignore[operator]
        assert columns_of(shown) == width
        assert "..." in shown
    assert columns_of(cut("相相相相相相", 7)) <= 7  # type: ignore[operator]


def summarize(**environment: str) -> str:
    import os

    clean = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-m", "netspec", "summarize", "networks/resnet.net"],
        cwd=ROOT, env={**clean, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_tables_fit_within_the_terminal() -> None:
    def table(text: str) -> list[str]:
        rows = text.splitlines()
        first, last = (i for i, row in enumerate(rows) if row.startswith("---"))
        return rows[first - 1 : last + 2]

    piped, narrow = summarize(), summarize(COLUMNS="66")
    assert max(map(len, table(piped))) > 66
    assert "..." not in "".join(row.split("  ")[0] for row in table(piped))
    assert max(map(len, table(narrow))) <= 66
    assert len(table(piped)) == len(table(narrow))
    assert summarize(COLUMNS="400") == piped
