"""Run folders from elsewhere: nothing is written outside of them, and reading never waits for a
special file.
"""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from pathlib import Path

import pytest

from netspec.diagnostics import NetspecError
from netspec.runtime.runs.checkpoint import LAST, Checkpoint, load_checkpoint, save_checkpoint
from netspec.runtime.runs.folder import RunFolder
from netspec.runtime.runs.listing import summarize_run
from netspec.runtime.runs.metrics import NAME, MetricsWriter, read_metrics
from tests.conftest import Finished, Run
from tests.helpers.killing import make_halfway

WRITTEN = (
    "run.json", "log.txt", NAME, "weights.safetensors", f"checkpoints/{LAST}",
    "checkpoints/previous.safetensors", "checkpoints/next.safetensors",
    "checkpoints/best.safetensors",
)  # fmt: skip


@pytest.fixture(autouse=True)
def few_threads(monkeypatch):
    from netspec.runtime.engine import threads

    monkeypatch.setattr(threads, "limit", lambda count: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A run that can be resumed, made once."""
    from netspec.cli import main

    def run(*arguments: object) -> Finished:
        return Finished(main([str(argument) for argument in arguments]), "", "")

    with pytest.MonkeyPatch.context() as patch:
        return make_halfway(run, tmp_path_factory.mktemp("made"), patch)


@pytest.fixture
def halfway(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "folder"])
@pytest.mark.parametrize("name", WRITTEN)
def test_nothing_is_written_through_what_is_no_file(
    run: Run, halfway: Path, tmp_path: Path, name: str, kind: str
) -> None:
    odd, mine = halfway / name, tmp_path / "mine"
    there = odd.read_bytes() if odd.exists() else b"mine"
    if odd.exists():
        odd.unlink()
    if kind == "fifo":
        os.mkfifo(odd)
    elif kind == "folder":
        odd.mkdir()
    else:
        odd.symlink_to(mine)
    if kind == "link":
        mine.write_bytes(there)
    before = contents(tmp_path)
    finished = run("train", "--resume", halfway)
    assert finished.code in (1, 2)
    assert "error[run/" in finished.err
    assert name in finished.err or name == "run.json"
    assert contents(tmp_path) == before


def test_no_folder_of_checkpoints_elsewhere_is_written_or_tidied(
    run: Run, halfway: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (halfway / "checkpoints").rename(elsewhere)
    (elsewhere / ".thesis.part").write_text("mine")
    (halfway / "checkpoints").symlink_to(elsewhere)
    before = contents(tmp_path)
    finished = run("train", "--resume", halfway)
    assert finished.code == 1
    assert "error[run/damaged]" in finished.err
    assert "checkpoints is a link" in finished.err
    assert contents(tmp_path) == before


def test_a_checkpoint_that_says_there_were_no_metrics_shortens_nothing_else(
    run: Run, halfway: Path, tmp_path: Path
) -> None:
    folder = halfway / "checkpoints"
    state = load_checkpoint(folder / LAST)
    save_checkpoint(folder, Checkpoint(state.tensors, {**state.state, "metrics": 0}))
    (tmp_path / "thesis").write_text("mine")
    (halfway / NAME).unlink()
    (halfway / NAME).symlink_to(tmp_path / "thesis")
    assert run("train", "--resume", halfway).code == 1
    assert (tmp_path / "thesis").read_text() == "mine"


def test_what_becomes_a_link_later_is_not_followed(tmp_path: Path) -> None:
    """The checks come first, but a link that is put there afterwards is not followed either."""
    (tmp_path / "thesis").write_text("mine")
    for name in (NAME, "log.txt"):
        (tmp_path / name).symlink_to("thesis")
    with pytest.raises(NetspecError, match="output/unwritable"):
        MetricsWriter(tmp_path / NAME)
    with pytest.raises(NetspecError, match="output/unwritable"):
        RunFolder(tmp_path).log("a line")
    assert (tmp_path / "thesis").read_text() == "mine"


def test_a_copy_by_hard_links_is_left_as_it_is(run: Run, halfway: Path, tmp_path: Path) -> None:
    shutil.copytree(halfway, tmp_path / "copy", copy_function=os.link)
    before = contents(tmp_path / "copy")
    assert run("train", "--resume", halfway).code == 0
    assert contents(tmp_path / "copy") == before
    assert contents(halfway) != before


@pytest.mark.parametrize("length", [-1, None, "x", [1], 10**400])
def test_a_length_of_metrics_that_is_none_is_a_damaged_checkpoint(
    run: Run, halfway: Path, length: object
) -> None:
    folder = halfway / "checkpoints"
    state = load_checkpoint(folder / LAST)
    save_checkpoint(folder, Checkpoint(state.tensors, {**state.state, "metrics": length}))
    finished = run("train", "--resume", halfway)
    assert finished.code in (0, 1)
    assert "internal error" not in finished.err


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("a run", "run/exists"), ("empty", "output/unwritable"), ("file", "output/unwritable"),
        ("absent", "output/unwritable"), ("itself", "output/unwritable"),
    ],
)  # fmt: skip
def test_a_link_is_no_folder_for_a_new_run(
    run: Run, made: Path, tmp_path: Path, kind: str, code: str
) -> None:
    target = tmp_path / "target"
    if kind == "a run":
        shutil.copytree(made, target)
    elif kind == "empty":
        target.mkdir()
    elif kind == "file":
        target.write_text("mine")
    link = tmp_path / "link"
    link.symlink_to(link if kind == "itself" else target)
    before = contents(tmp_path)
    finished = run("train", "numpy", made.parent / "noisy.net", "--out", link)
    assert finished.code in (1, 2)
    assert f"error[{code}]" in finished.err
    assert contents(tmp_path) == before
    assert link.is_symlink()


# ------------------------------------------------------------------------------------------- metrics

SOUND = {
    "kind": "epoch", "epoch": 1, "step": 10, "loss": 0.5, "lr": 0.1, "train": 0.9,
    "seconds": 1.5, "images_per_second": 10.0,
}  # fmt: skip
BAD = {
    "not an object": "[]",
    "no json": "{",
    "nested": "[" * 100_000,
    "no kind": json.dumps({**SOUND, "kind": None}),
    "a list for a kind": json.dumps({**SOUND, "kind": []}),
    "another kind": json.dumps({**SOUND, "kind": "other"}),
    **{f"text for {name}": json.dumps({**SOUND, name: "x"}) for name in SOUND if name != "kind"},
    **{f"none for {name}": json.dumps({**SOUND, name: None}) for name in SOUND if name != "kind"},
    "a result without an epoch": '{"kind": "result", "step": 2, "test": 0.5, "seconds": 1}',
    "no loss": json.dumps({name: value for name, value in SOUND.items() if name != "loss"}),
    "nan": json.dumps({**SOUND, "loss": float("nan")}),
    "infinite": json.dumps({**SOUND, "val": float("inf")}),
    "a number with 400 digits": json.dumps({**SOUND, "test": 10**400}),
    "a number with 9000 digits": '{"kind": "epoch", "epoch": ' + "9" * 9000 + "}",
    "an epoch and a half": json.dumps({**SOUND, "epoch": 1.5}),
    "a bool": json.dumps({**SOUND, "train": True}),
    "no utf-8": b"\xff",
}


@pytest.mark.parametrize("name", BAD)
def test_metrics_that_no_run_writes_are_damage(tmp_path: Path, name: str) -> None:
    line = BAD[name]
    raw = line if isinstance(line, bytes) else line.encode()
    (tmp_path / NAME).write_bytes(json.dumps(SOUND).encode() + b"\n" + raw + b"\n")
    with pytest.raises(NetspecError, match="run/damaged"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("name", ["text for train", "text for epoch", "not an object", "nested"])
def test_one_bad_run_leaves_the_others_listed_and_compared(
    run: Run, halfway: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(halfway, tmp_path / "bad")
    (tmp_path / "bad" / NAME).write_text(f"{BAD[name]}\n")
    for options in ((), ("--sort", "val"), ("--compare",), ("--format", "json")):
        finished = run("runs", tmp_path, *options)
        assert finished.code == 1
        assert "error[run/damaged]" in finished.err
        assert str(tmp_path / "run") in finished.out


@pytest.mark.parametrize("option", ["monitor", "seed", "lr", "keep", "early-stopping", "val"])
def test_an_option_of_another_kind_is_damage_to_whoever_reads_it(
    run: Run, halfway: Path, option: str
) -> None:
    path = halfway / "run.json"
    facts = json.loads(path.read_text())
    for value in (["a", "b"], {"a": 1}, "\u001b[31m", [[]]):
        facts["options"][option] = value
        path.write_text(json.dumps(facts))
        for verb in (
            ("runs",), ("runs", "--compare"), ("runs", "--format", "csv"), ("eval",),
            ("plot", "-o", halfway.parent / "p.csv"), ("train", "--resume"),
        ):  # fmt: skip
            finished = run(*verb, halfway)
            assert finished.code == 1, (verb, value)
            assert f"is damaged: `{option}`: not " in finished.err, finished.err
            assert "\x1b" not in finished.err


@pytest.mark.parametrize("option", ["tokens", "batch", "optimizer", "schedule", "epochs", "data"])
@pytest.mark.parametrize("value", [[], None, False])
def test_what_a_run_must_have_is_not_left_open(
    run: Run, halfway: Path, option: str, value: object
) -> None:
    path = halfway / "run.json"
    facts = json.loads(path.read_text())
    facts["options"][option] = value
    path.write_text(json.dumps(facts))
    for verb in (("runs",), ("train", "--resume")):
        finished = run(*verb, halfway)
        assert finished.code == 1, finished
        assert f"is damaged: `{option}`: not " in finished.err, finished.err


def test_metrics_that_are_a_fifo_keep_nobody_waiting(run: Run, halfway: Path) -> None:
    (halfway / NAME).unlink()
    os.mkfifo(halfway / NAME)
    assert "error[run/damaged]" in run("runs", halfway).err
    assert "error[run/damaged]" in run("plot", halfway, "-o", "x.png").err


@pytest.mark.parametrize("name", ["a\0.net", "\ud800.net", "../../a.net"])
def test_a_net_that_no_file_can_hold(run: Run, halfway: Path, name: str) -> None:
    facts = json.loads((halfway / "run.json").read_text())
    (halfway / "run.json").write_text(json.dumps({**facts, "file": name}))
    for command in (("eval",), ("train", "--resume")):
        finished = run(*command, halfway)
        assert finished.code == 1
        assert "error[run/damaged]" in finished.err


@pytest.mark.parametrize("where", ["net", "written_as", "started", "recipe", "target"])
def test_a_word_of_a_run_is_no_longer_than_a_path(run: Run, halfway: Path, where: str) -> None:
    """It would be printed whole, in tables and in messages."""
    path = halfway / "run.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, where: "a" * 300_000}))
    for verb in (
        ("runs",), ("runs", "--format", "md"), ("eval",), ("train", "--resume"),
        ("plot", "-o", halfway.parent / "p.csv"), ("summarize",), ("diff",),
    ):  # fmt: skip
        finished = run(*verb, halfway)
        assert finished.code in (1, 2), verb
        assert "run.json is damaged" in finished.err
        assert len(finished.out + finished.err) < 2000, verb


@pytest.mark.parametrize("table", ["options", "data", "versions", "arguments", "before"])
def test_a_name_in_a_table_of_a_run_is_no_longer_than_a_path(
    run: Run, halfway: Path, table: str
) -> None:
    path = halfway / "run.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, table: {**facts[table], "a" * 300_000: 1}}))
    for verb in (("runs", "--compare"), ("eval",), ("train", "--resume")):
        finished = run(*verb, halfway)
        assert finished.code == 1, verb
        assert len(finished.out + finished.err) < 2000, verb


@pytest.mark.parametrize("value", [{"a": 1}, [1, {"a": 1}]])
def test_an_argument_of_a_run_is_a_constant(run: Run, halfway: Path, value: object) -> None:
    path = halfway / "run.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "arguments": {**facts["arguments"], "a": value}}))
    for verb in (("summarize",), ("eval",), ("train", "--resume")):
        finished = run(*verb, halfway)
        assert finished.code == 1, verb
        assert "the argument `a` is no constant of the language" in finished.err


def test_the_steps_of_a_long_run_are_not_kept(halfway: Path) -> None:
    """A record of 90 MB took 418 MB where epochs alone are asked for."""
    step = '{"kind": "step", "step": 1, "epoch": 1, "loss": 0.5, "lr": 0.1, "seconds": 1.0}\n'
    with (halfway / NAME).open("a") as file:
        file.write(step * 40_000)
    tracemalloc.start()
    try:
        summary = summarize_run(halfway)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert summary.epochs == sum(line["kind"] == "epoch" for line in read_metrics(halfway)) > 0
    with (halfway / NAME).open("a") as file:
        file.write(step.replace("0.5", "[]"))
    with pytest.raises(NetspecError, match="is damaged: line 4"):
        summarize_run(halfway)
