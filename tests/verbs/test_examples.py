"""The examples of `--help`: every verb has some, and they are run, or at least read."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from netspec import cli
from netspec.cli import VERBS
from netspec.cli.examples import EXAMPLES
from tests.conftest import ROOT, Run

# What is run in order in one folder, with the exit code; other examples want files, networks, or time.
CODES = {"diff resnet --set-a depth=20 --set-b depth=56": 1}
RUN = [
    "new lenet", "check lenet.net", "check lenet.net --set classes=100",
    "summarize lenet.net", "summarize resnet --set depth=56", "draw lenet.net -o lenet.svg",
    "check lenet.net --assert 'params <= 100_000' --forbid dropout --input 1,28,28",
    "diff lenet.net lenet", "diff lenet.net lenet --ignore init,names",
    "diff resnet --set-a depth=20 --set-b depth=56", "fmt lenet.net",
    "fmt --check --diff .", "explain shape/rank", "train numpy lenet.net --epochs 5 --out mine",
    "compile lenet.net --target numpy -o lenet_numpy.py",
    "compile lenet.net --target torch -o lenet_torch.py",
    "compile lenet.net --target c --weights mine -o lenet.c --header",
    "sweep rates.toml", "runs mine --compare", "eval mine", "eval lenet.net --weights mine --part train",
    "data info digits", "doctor lenet.net", "test-op my_ops.py", "weights mine",
]  # fmt: skip
DRAWN = ["predict mine three.png --top 3", "plot mine -o curves.png"]


def test_help_of_every_verb_ends_in_its_examples(run: Run) -> None:
    for words in EXAMPLES:
        lines = run(*words.split(), "--help").out.splitlines()
        shown = [line.removeprefix("  ") for line in lines if line.startswith("  netspec ")]
        assert shown == [*EXAMPLES[words]]
        assert all(line.startswith(f"netspec {words}".rstrip()) for line in shown)
    assert {words.split()[0] for words in EXAMPLES if words} == {*VERBS}


@pytest.mark.parametrize("line", sorted({line for lines in EXAMPLES.values() for line in lines}))
def test_every_example_is_a_command(line: str) -> None:
    cli.parse(shlex.split(line)[1:])


def test_examples_run_in_their_order(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {line for lines in EXAMPLES.values() for line in lines}
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "docs/my_ops.py", tmp_path)
    (tmp_path / "rates.toml").write_text(
        'lr = [1e-3, 3e-3]\nepochs = 1\n[sweep]\nnet = "lenet.net"\n', "utf-8"
    )
    for words in RUN:
        assert f"netspec {words}" in known
        done = run(*shlex.split(words))
        assert done.code == CODES.get(words, 0), f"{words}\n{done.out}\n{done.err}"
    pytest.importorskip("matplotlib")
    Image = pytest.importorskip("PIL.Image")
    Image.new("L", (28, 28)).save(tmp_path / "three.png")
    for words in DRAWN:
        assert f"netspec {words}" in known
        done = run(*shlex.split(words))
        assert done.code == 0, f"{words}\n{done.out}\n{done.err}"
