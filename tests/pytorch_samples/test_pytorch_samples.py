"""PyTorch's operator samples, for the functions that ops stand for, as nets.

`table.md` lists the functions, how many of their samples can be written as nets, and why the rest
cannot. Every one that can be passes: its value and its gradients, in the reference, the NumPy
program (recorded too), the standalone file and the PyTorch module.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # PyTorch's module of samples imports it

from tests.helpers.golden import check_golden  # noqa: E402
from tests.pytorch_samples.check import EVERY_STANDALONE, check, samples, variants, write  # noqa: E402
from tests.pytorch_samples.modules import module_samples  # noqa: E402
from tests.pytorch_samples.written import InexpressibleError  # noqa: E402

TABLE = Path(__file__).with_name("table.md")
INDICES = "the indices of a max pool"
# The names in the table: PyTorch's samples take seconds to import.
NAMES = re.findall(r"^\| (\S.*?) \| \d", TABLE.read_text("utf-8"), re.MULTILINE)
MODULES = [name for name in NAMES if name.startswith("nn.") and "functional" not in name]


def check_all(each: Iterable[tuple[str, Any, Any]]) -> None:
    """Check all samples that can be written, and report the faults of all."""
    faults = []
    for at, (function, call, sample) in enumerate(each):
        try:
            check(function, call, sample(), standalone=at % EVERY_STANDALONE == 0)
        except InexpressibleError:
            continue
        except Exception as error:
            faults.append(f"sample {at}: {type(error).__name__}: {error}")
    assert not faults, "\n".join(faults)


def of_function(name: str) -> Iterator[tuple[str, Any, Any]]:
    """The samples of a variant of a function."""
    op = variants()[name]
    for sample in samples(op):
        yield op.name, op.op, lambda sample=sample: sample


def of_module(name: str) -> Iterator[tuple[str, Any, Any]]:
    """The samples of a module."""
    yield from module_samples()[name]


# A thin slice for every day: one sample of some functions, of all ranks and kinds.
SLICE = [
    "nn.functional.conv1d", "nn.functional.conv_transpose3d", "nn.functional.max_pool3d",
    "nn.functional.interpolate trilinear", "nn.functional.pad circular", "nn.functional.dropout2d",
    "nn.functional.batch_norm", "nn.functional.cross_entropy", "nn.functional.channel_shuffle",
    "matmul", "gather", "var", "logsumexp",
]  # fmt: skip


@pytest.mark.parametrize("name", SLICE)
def test_a_sample_of_a_function_is_a_net_that_computes_the_same(name: str) -> None:
    for function, call, sample in reversed(list(of_function(name))):
        try:
            check(function, call, sample(), standalone=False)
        except InexpressibleError:
            continue
        return
    pytest.fail("no sample can be written")


@pytest.mark.heavy
@pytest.mark.parametrize("name", [name for name in NAMES if name not in MODULES])
def test_every_sample_of_a_function_is_a_net_that_computes_the_same(name: str) -> None:
    check_all(of_function(name))


@pytest.mark.heavy
@pytest.mark.parametrize("name", MODULES)
def test_every_sample_of_a_module_is_a_net_that_computes_the_same(name: str) -> None:
    check_all(of_module(name))


class Count:
    """The samples of a function: all, those that can be written, and the reasons of the others."""

    def __init__(self, each: Iterable[tuple[str, Any, Any]]) -> None:
        self.relevant = self.expressible = 0
        self.reasons: Counter[str] = Counter()
        for function, _, sample in each:
            self.relevant += 1
            try:
                write(function, sample())
                self.expressible += 1
            except InexpressibleError as error:
                self.reasons[str(error)] += 1

    def row(self, name: str) -> str:
        """A row of the table."""
        reasons = "; ".join(f"{why} ({n})" for why, n in sorted(self.reasons.items()))
        return f"| {name} | {self.relevant} | {self.expressible} | {reasons} |"


def table(title: str, counts: dict[str, Count]) -> tuple[list[str], int, int]:
    """Return a table with its sum, how many samples are relevant, and how many expressible."""
    indices = sum(count.reasons[INDICES] for count in counts.values())
    relevant = sum(count.relevant for count in counts.values())
    expressible = sum(count.expressible for count in counts.values())
    lines = [
        f"## {title}",
        "",
        f"{relevant} samples. {indices} want {INDICES}; of the other {relevant - indices},"
        f" {expressible} can be written as nets.",
        "",
        "| function | relevant | expressible | the rest by reason |",
        "|---|---|---|---|",
        *(count.row(name) for name, count in counts.items()),
        "",
    ]
    return lines, relevant - indices, expressible


@pytest.mark.heavy
def test_the_table_says_what_can_be_written() -> None:
    functions, relevant, expressible = table(
        "Functions", {name: Count(of_function(name)) for name in variants()}
    )
    modules, of_modules, written = table(
        "Modules", {name: Count(of_module(name)) for name in module_samples()}
    )
    assert expressible >= 0.9 * relevant
    assert written >= 0.9 * of_modules
    version = torch.__version__.partition("+")[0]
    head = [
        "# PyTorch's samples",
        "",
        f"Of PyTorch {version}. Every one that is expressible passes.",
    ]
    is_other = f"Of PyTorch {version}." not in TABLE.read_text("utf-8")
    if is_other and not os.environ.get("UPDATE_GOLDEN"):
        pytest.skip("the table is of another version of PyTorch, which has other samples")
    check_golden(TABLE, "\n".join([*head, "", *functions, *modules]))
