"""`netspec sweep`: grids of runs in one folder, killed and gone on with, and the table at the end."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import netspec
from netspec.cli.measure_text import measure_texts, spread_texts
from netspec.compiler.ir.net_facts import params_and_macs
from netspec.diagnostics import NetspecError, Source
from netspec.runtime.runs.folder_lock import FolderLock
from netspec.runtime.runs.listing import Spread
from netspec.runtime.runs.metrics import read_metrics
from netspec.runtime.runs.sweeps.sweep_file import SweepFile, check_sweep
from tests.conftest import ROOT, Run, Write

NET = """
    net Tiny(hidden = 16) {
        input image: [1, 8, 8]
        output image -> flatten -> linear(hidden) -> relu -> linear(10)
    }
    """
RATES = """
    lr = [1e-3, 3e-3, 1e-2, 3e-2]
    seed = [0, 1, 2]
    epochs = 2
    batch = 32
    train-limit = 400
    val = 0.2
    checkpoint-every = 5

    [sweep]
    net = "tiny.net"
    """


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    write(NET, "tiny.net")
    return tmp_path


def ends(out: Path) -> dict[str, int]:
    """Return the runs that have ended, with the time at which their weights were written."""
    names = [end.stem for end in (out / "sweep").glob("*.end")]
    return {name: (out / name / "weights.safetensors").stat().st_mtime_ns for name in names}


def kill_after(out: Path, count: int, *command: str) -> None:
    """Start a sweep, and kill it as soon as so many of its runs have ended."""
    sweep = subprocess.Popen([sys.executable, "-m", "netspec", *command], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    while len(ends(out)) < count and time.monotonic() < deadline:
        assert sweep.poll() is None
        time.sleep(0.02)
    sweep.send_signal(signal.SIGKILL)
    sweep.wait()


@pytest.mark.heavy
def test_four_rates_and_three_seeds_killed_twice_end_in_one_table(run: Run, write: Write) -> None:
    path, out = write(RATES, "rates.toml"), Path("runs/rates")
    kill_after(out, 2, "sweep", str(path), "--jobs", "2")
    kill_after(out, 6, "sweep", str(path), "--jobs", "3")
    before = ends(out)
    done = run("sweep", path, "--format", "json")
    assert done.code == 0, done.err
    assert re.search(rf"12 runs in runs/rates, {len(before)} of them ended before", done.err)
    assert before.items() <= ends(out).items()  # these were not run again
    rows = json.loads(done.out)
    assert sorted(row["choices"]["lr"] for row in rows) == [1e-3, 3e-3, 1e-2, 3e-2]
    assert [row["ends"] for row in rows] == [{"done": 3}] * 4
    means = [row["val"]["mean"] for row in rows]
    assert means == sorted(means, reverse=True)
    for row in rows:
        last = [read_metrics(Path(path))[-2] for path in row["runs"]]
        assert row["val"]["mean"] == pytest.approx(sum(line["val"] for line in last) / 3)
    table = run("sweep", path).out.splitlines()
    assert len(table) == 6
    assert table[0].split()[:3] == ["lr", "runs", "val"]
    assert re.fullmatch(r"1  [\d.]+ +3 +[\d.]+% ± [\d.]+% .*", table[2])
    # Each run is what its recipe alone gives.
    for name in ("lr=0.001,seed=1", "lr=0.03,seed=2"):
        recipe = out / "sweep" / f"{name}.toml"
        alone = run("train", "numpy", "tiny.net", "--recipe", recipe, "--threads", 1, "--out", name)
        assert alone.code == 0, alone.err
        weights = (Path(name) / "weights.safetensors").read_bytes()
        assert weights == (out / name / "weights.safetensors").read_bytes()
    assert not [*out.rglob("*.part")]


def test_a_stopped_sweep_saves_its_runs_and_tells_the_code(folder: Path, write: Write) -> None:
    path, out = write(RATES.replace("epochs = 2", "epochs = 400"), "long.toml"), Path("runs/long")
    command = [sys.executable, "-m", "netspec", "sweep", str(path), "--jobs", "2"]
    sweep = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while len([*out.glob("*/metrics.jsonl")]) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    sweep.terminate()
    _, said = sweep.communicate()
    assert sweep.returncode == 143
    assert "the same command goes on" in said
    assert ends(out) == {}
    for log in out.glob("*/log.txt"):
        assert "stopped by SIGTERM" in log.read_text()


def test_a_sweep_that_another_process_runs_is_refused(run: Run, write: Write) -> None:
    path = write("epochs = 1\nlr = [1e-3]\n[sweep]\nnet = 'tiny.net'\n", "one.toml")
    assert run("sweep", path).code == 0
    lock = FolderLock(Path("runs/one"))
    refused = run("sweep", path)
    assert refused.code == 1
    assert "error[run/in-use]" in refused.err
    lock.release()
    assert run("sweep", path).code == 0


def test_another_sweep_in_the_folder_is_refused(run: Run, write: Write) -> None:
    path = write("epochs = 1\nlr = [1e-3]\n[sweep]\nnet = 'tiny.net'\n", "one.toml")
    assert run("sweep", path).code == 0
    write("epochs = 2\nlr = [1e-3, 1e-2]\n[sweep]\nnet = 'tiny.net'\n", "one.toml")
    refused = run("sweep", path)
    assert refused.code == 2
    assert "with another `epochs`: 1, not 2" in refused.err
    # More values of the same are more runs of the same sweep.
    write("epochs = 1\nlr = [1e-3, 1e-2]\n[sweep]\nnet = 'tiny.net'\n", "one.toml")
    more = run("sweep", path)
    assert more.code == 0
    assert "2 runs in runs/one, 1 of them ended before" in more.err
    write(NET.replace("16", "17"), "tiny.net")
    assert "with another `net`" in run("sweep", path).err
    (Path("full") / "of").mkdir(parents=True)
    assert "error[run/exists]" in run("sweep", path, "--out", "full").err


def test_a_run_that_diverges_is_a_result_and_one_that_fails_is_tried_again(
    run: Run, write: Write
) -> None:
    path = write(
        """
        lr = [1e-3, 1e30]
        optimizer = "sgd"
        epochs = 1
        [set]
        hidden = [8]
        [sweep]
        net = "tiny.net"
        """,
        "far.toml",
    )
    done = run("sweep", path)
    assert done.code == 0
    assert "lr=1e+30,hidden=8: diverged" in done.err
    assert re.search(r"^2 +1e\+30 +8 +0 of 1, 1 diverged", done.out, re.MULTILINE)
    assert "2 of them ended before; nothing is left to do" in run("sweep", path).err
    write("data = ['digits', 'none.npz']\nepochs = 1\n[sweep]\nnet = 'tiny.net'\n", "data.toml")
    for _ in range(2):
        failed = run("sweep", "data.toml", "--format", "csv")
        assert failed.code == 1
        log = "runs/data/sweep/data=none.npz.log"
        assert re.search(
            rf"data=none.npz: failed: error\[data/\S+: .*none.npz.*; see {log}$", failed.err, re.M
        )
    rows = [*csv.DictReader(io.StringIO(failed.out))]
    assert [(row["data"], row["done"], row["of"]) for row in rows] == [
        ("digits", "1", "1"), ("none.npz", "0", "1"),
    ]  # fmt: skip
    assert "error[data/" in Path("runs/data/sweep/data=none.npz.log").read_text()


def test_the_tables_count_the_nets_where_they_differ(run: Run, write: Write) -> None:
    path = write(
        "epochs = 1\n[set]\nhidden = [8, 16]\n[sweep]\nnet = 'tiny.net'\nby = 'loss'\n", "w.toml"
    )
    table = run("sweep", path)
    assert table.code == 0, table.err
    assert table.out.split()[:4] == ["hidden", "params", "macs", "runs"]
    counted = {8: (64 * 8 + 8 + 80 + 10, 64 * 8 + 80), 16: (1040 + 170, 1024 + 160)}
    for hidden, (params, macs) in counted.items():
        assert re.search(rf"^\d +{hidden} +{params:,} +{macs:,} +1 ", table.out, re.M)
    shown = run("sweep", path, "--format", "md").out.splitlines()
    assert shown[0].startswith("|  | hidden | params | macs | runs | loss |")
    assert shown[1].startswith("| :-- | --: | --: | --: | :-- | --: |")
    assert len(shown) == 4
    for row in json.loads(run("sweep", path, "--format", "json").out):
        assert (row["params"], row["macs"]) == counted[row["choices"]["hidden"]]
    for line in csv.DictReader(io.StringIO(run("sweep", path, "--format", "csv").out)):
        assert (int(line["params"]), int(line["macs"])) == counted[int(line["hidden"])]
    listed = run("runs", "runs/w", "--compare", "--format", "md").out
    assert "| choice | 1 | 2 |" in listed
    assert re.search(r"^\| set hidden \| (8 \| 16|16 \| 8) \|$", listed, re.M)


def test_latex_has_the_best_in_bold_and_the_columns_that_are_asked_for(
    run: Run, write: Write
) -> None:
    path = write(
        "lr = [1e-4, 1e-2]\nseed = [1, 2]\nepochs = 2\n[sweep]\nnet = 'tiny.net'\nby = 'test'\n",
        "l.toml",
    )
    assert run("sweep", path).code == 0
    options = ("--format", "latex", "--columns", "lr,test,train")
    shown = run("sweep", path, *options).out.splitlines()
    assert shown[:3] == [r"% needs \usepackage{booktabs}", r"\begin{tabular}{lrrr}", r"\toprule"]
    assert shown[3:5] == [r" & lr & test & train \\", r"\midrule"]
    assert shown[-2:] == [r"\bottomrule", r"\end{tabular}"]
    best, other = shown[5:7]
    assert re.fullmatch(
        r"1 & 0\.01 & \\textbf\{[\d.]+\\% \$\\pm\$ [\d.]+\\%\} & \\textbf.* \\\\", best
    )
    assert "textbf" not in other
    listed = run("runs", "runs/l", "--compare", "--format", "md", "--columns", "test").out
    (head,) = re.findall(r"^\| over seeds .*$", listed, re.M)
    assert head == "| over seeds | test |"
    # A row says what it is, whatever is asked for.
    assert listed.startswith("|  | run | test |\n| :-- | :-- | --: |\n| 1 | runs/l/lr=")
    assert run("sweep", path, "--format", "md", "--columns", "test").out.startswith(
        "|  | lr | test |\n| :-- | --: | --: |\n| 1 | 0.01 | **"
    )
    assert len(re.findall(r"^\| \d,\d \| \*\*.*\*\* \|$", listed, re.M)) == 1
    wrong = run("sweep", path, "--columns", "lr,tset")
    assert (wrong.code, "did you mean `test`?" in wrong.err) == (2, True)
    assert "error[usage/column]" in wrong.err


def test_tables_have_the_costs_of_nets_that_are_the_same_where_they_are_named(
    run: Run, write: Write
) -> None:
    """A paper's table wants them above all where they are equal; the widths differ in them."""
    path = write("lr = [1e-4, 1e-2]\nepochs = 1\n[sweep]\nnet = 'tiny.net'\n", "c.toml")
    assert "params" not in run("sweep", path).out
    shown = run("sweep", path, "--format", "md", "--columns", "lr,params,macs,test").out
    (head, _, *rows) = shown.splitlines()
    assert head == "|  | lr | params | macs | test |"
    net = netspec.load(path.parent / "tiny.net")
    facts = params_and_macs(net.graph)
    wanted = [f"{facts['params']:,}", f"{facts['macs']:,}"]
    assert [[cell.strip() for cell in row.split("|")][3:5] for row in rows] == [wanted] * 2
    assert "params" not in run("runs", "runs/c", "--compare").out
    listed = run("runs", "runs/c", "--columns", "params,macs,test", "--format", "md").out
    assert [[cell.strip() for cell in row.split("|")][3:5] for row in listed.splitlines()[2:]] == [
        wanted
    ] * 2
    told = json.loads(run("runs", "runs/c", "--compare", "--format", "json").out)
    assert [{name: row[name] for name in facts} for row in told] == [facts] * 2
    for row in csv.DictReader(io.StringIO(run("runs", "runs/c", "--format", "csv").out)):
        assert {name: int(row[name]) for name in facts} == facts


def test_runs_of_different_nets_are_listed_with_their_costs(run: Run, write: Write) -> None:
    text = "seed = [1, 2]\nepochs = 1\n[set]\nhidden = [8, 16]\n[sweep]\nnet = 'tiny.net'\n"
    finished = run("sweep", write(text, "h.toml"))
    assert finished.code == 0, finished.err
    compared = run("runs", "runs/h", "--compare", "--format", "md").out
    (grouped,) = re.findall(r"^\| over seeds .*\n.*\n(.*)\n(.*)$", compared, re.M)
    heads = [line for line in compared.splitlines() if " params " in line]
    assert len(heads) == 2
    assert len({row.split("|")[3].strip() for row in grouped}) == 2
    # A net that cannot be compiled here is no reason to list no runs.
    for net in Path("runs/h").glob("*/net/tiny.net"):
        net.write_text("nothing")
    broken = run("runs", "runs/h", "--compare", "--columns", "test,loss")
    assert (broken.code, "params" in broken.out) == (0, False)


def test_a_setting_that_is_called_like_a_result_has_a_column_of_its_own(
    run: Run, write: Write
) -> None:
    path = write(
        "loss = ['softmax', 'mse']\nepochs = 1\n[set]\ndeep = [true, false]\n[sweep]\nnet = 'deep.net'\n",
        "s.toml",
    )
    write(
        "net Deep(deep = true) { input image: [1, 8, 8]\n x = image -> flatten\n"
        " if deep { x = x -> linear(8) -> relu }\n output x -> linear(10) }",
        "deep.net",
    )
    assert run("sweep", path).code == 0
    for verb in (("sweep", path), ("runs", "runs/s")):
        rows = [*csv.DictReader(io.StringIO(run(*verb, "--format", "csv").out))]
        assert {row["setting loss"] for row in rows} == {"softmax", "mse"}
        deep = "deep" if verb[0] == "sweep" else "set deep"
        assert {row[deep] for row in rows} == {"true", "false"}
        assert all(float(row["loss"]) > 0 for row in rows)
    head = run("sweep", path, "--format", "md").out.splitlines()[0]
    assert head.startswith("|  | setting loss | deep | params | macs | runs | loss |")


def test_a_column_has_one_number_of_decimals() -> None:
    found = [Spread(1.44, 0.05438, 2), None, Spread(6.823, 0.8256, 2), Spread(1234.5, None, 1)]
    assert spread_texts("test_perplexity", found) == [
        "1.440 ± 0.054", "-", "6.823 ± 0.826", "1234.500",
    ]  # fmt: skip
    assert spread_texts("val_perplexity", found[2:3]) == ["6.823 ± 0.826"]
    assert measure_texts("val_perplexity", [123.456, 4321.9, None]) == ["123.5", "4321.9", "-"]
    assert measure_texts("train_perplexity", [1e30, 54321.0]) == ["1.00e+30", "54321"]
    assert measure_texts("val", [0.5, None]) == ["50.00%", "-"]


def test_markdown_keeps_a_cell_one_cell() -> None:
    from netspec.text.table import latex_lines, markdown_lines, text_column

    assert [*markdown_lines([text_column("a|b")], [["x|y\n\\"]])] == [
        "| a\\|b |", "| :-- |", "| x\\|y\\\\n\\\\ |",
    ]  # fmt: skip
    assert [*latex_lines([text_column("a_b")], [["1 % & 2 ± {0}~"]])][3:6] == [
        r"a\_b \\", r"\midrule", r"1 \% \& 2 $\pm$ \{0\}\textasciitilde{} \\",
    ]  # fmt: skip


def test_runs_that_differ_in_the_seed_alone_are_compared_as_one(run: Run, write: Write) -> None:
    path = write(
        "lr = [1e-3, 1e-2]\nseed = [3, 4]\nepochs = 1\n[sweep]\nnet = 'tiny.net'\n", "two.toml"
    )
    assert run("sweep", path).code == 0
    compared = run("runs", "runs/two", "--compare")
    (below,) = re.findall(r"^over seeds .*\n-+\n(.*\n.*)$", compared.out, re.MULTILINE)
    lines = below.splitlines()
    # Some start at once, and are listed in any order; seeds are in theirs.
    assert {number for line in lines for number in line.split()[0].split(",")} == set("1234")
    assert [line.split()[1] for line in lines] == ["3,4", "3,4"]
    assert all(re.search(r"\d\.\d+ ± \d\.\d+", line) for line in lines)
    rows = json.loads(run("runs", "runs/two", "--compare", "--format", "json").out)
    for row in rows:
        mine = [other["loss"] for other in rows if other["lr"] == row["lr"]]
        assert row["over_seeds"]["runs"] == 2
        assert row["over_seeds"]["loss"]["mean"] == pytest.approx(sum(mine) / 2)
        spread = abs(mine[0] - mine[1]) / 2**0.5
        assert row["over_seeds"]["loss"]["spread"] == pytest.approx(spread)
    assert "over seeds" not in run("runs", "runs/two/lr=0.001,seed=3", "--compare").out


# --------------------------------------------------------------------------------------- the file


def sweep_of(text: str) -> SweepFile:
    return check_sweep(Source("my.toml", text))


def test_lists_are_choices_unless_an_option_takes_a_list() -> None:
    sweep = sweep_of(
        'lr = [1e-3, 3e-3]\naugment = ["crop", "flip"]\nclass-weights = ["balanced", [1, 2]]\n'
        'schedule = "multi-step"\nmilestones = [[1], [1, 2]]\nweights = ["a.npz", "b.npz"]\n'
        "[set]\ndepth = [20, 32]\nhidden = [[8, 8], [4]]\nwidth = 3\n"
    )
    assert {place[-1]: len(values) for place, values in sweep.varied.items()} == {
        "lr": 2, "class-weights": 2, "milestones": 2, "weights": 2, "depth": 2, "hidden": 2,
    }  # fmt: skip
    assert sweep.fixed.values == {"augment": ["crop", "flip"], "schedule": "multi-step"}
    members = sweep.grid()
    assert len(members) == 64
    assert len({member.name for member in members}) == 64
    last = members[-1]
    assert last.recipe.arguments == {"depth": 32, "hidden": (4,), "width": 3}
    assert last.settings["milestones"] == [1, 2]
    assert last.name == (
        "lr=0.003,class-weights=1+2,milestones=1+2,weights=b.npz,depth=32,hidden=4"
    )


@pytest.mark.parametrize(
    ("text", "code", "message", "at"),
    [
        ("lr = [1e-3, -1.0]\n", "recipe/value", "the learning rate must be more than 0", "-1.0"),
        ("lr = [1e-3, 'a']\n", "recipe/value", "`lr` must be a", "'a'"),
        ("lr = [1e-3, 1e-3]\n", "recipe/value", "`lr` has this value twice", "1e-3"),
        ("rate = [1e-3]\n", "recipe/key", "there is no training option `rate`", "rate"),
        ("out = 'a'\n", "recipe/key", "a recipe cannot set `out`", "out"),
        ("[sweep]\nnets = 'a'\n", "recipe/key", "[sweep] has no `nets`", "nets"),
        ("[sweep]\ntarget = 'jax'\n", "recipe/value", "`target` must be one of", "'jax'"),
        ("[sweep]\nby = 3\n", "recipe/value", "`by` must be a text", "3"),
        ("sweep = 3\n", "recipe/value", "`sweep` is a table", "sweep"),
        ("seed = " + str([*range(2000)]), "recipe/value", "these are 2,000 runs", None),
        ("optimizer = ['sgd', 'adam']\nbeta1 = [0.9, 2.0]\n", "recipe/value", "beta1", "0.9"),
        ("set = [1]\n", "recipe/value", "`set` is a table", "[1]"),
        ("lr = \n", "recipe/syntax", "", None),
    ],
)  # fmt: skip
def test_a_wrong_sweep_is_shown_where_it_is_wrong(
    text: str, code: str, message: str, at: str | None
) -> None:
    with pytest.raises(NetspecError) as caught:
        sweep_of(text).grid()
    first = caught.value.diagnostics[0]
    assert str(first.code) == code
    assert message in first.message
    if at is not None:
        assert first.span is not None
        assert text[first.span.start : first.span.end] == at


def test_what_a_net_does_not_take_is_shown_in_the_sweep(run: Run, write: Write) -> None:
    path = write("epochs = 1\n[set]\ndepth = [1, 2]\n[sweep]\nnet = 'tiny.net'\n", "bad.toml")
    refused = run("sweep", path)
    assert refused.code == 1
    assert "error[recipe/key]" in refused.err
    assert f"{path}:3:1" in refused.err
    assert not Path("runs").exists()
    write("epochs = 1\n", "none.toml")
    assert "does not say which net" in run("sweep", "none.toml").err


def test_hostile_values_and_folders_lead_nowhere_else(run: Run, write: Write, folder: Path) -> None:
    sweep = sweep_of(
        'data = ["../../x.npz", "a/b.npz", "a_b.npz"]\nrates = [{"a" = 1}, {"b" = 2}]\n'
    )
    names = [member.name for member in sweep.grid()]
    assert len({*names}) == 6
    assert all(re.fullmatch(r"[\w.+=,-]+", name) and not name.startswith(".") for name in names)
    path = write("epochs = 1\nlr = [1e-3]\n[sweep]\nnet = 'tiny.net'\n", "one.toml")
    assert run("sweep", path).code == 0
    outside = folder / "outside"
    outside.write_text("kept")
    log = folder / "runs/one/sweep/lr=0.001.log"
    log.unlink()
    os.symlink(outside, log)
    refused = run("sweep", path)
    assert refused.code == 1
    assert "error[run/damaged]" in refused.err
    assert outside.read_text() == "kept"
    log.unlink()
    (folder / "runs/one/sweep/sweep.json").write_text("[" * 100_000)
    assert "error[run/damaged]" in run("sweep", path).err


@pytest.mark.parametrize("target", [pytest.param("torch", marks=pytest.mark.heavy), "c"])
def test_other_backends_are_swept_alike(run: Run, write: Write, target: str) -> None:
    path = write(
        f"lr = [1e-2]\nepochs = 1\nthreads = 1\n[sweep]\nnet = 'tiny.net'\ntarget = '{target}'\n"
        "by = 'test'\n", "other.toml",
    )  # fmt: skip
    done = run("sweep", path, "--format", "json")
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)
    facts = json.loads(Path("runs/other/lr=0.01/run.json").read_text())
    assert (facts["target"], facts["threads"], facts["options"]["lr"]) == (target, 1, 1e-2)
    assert row["test"]["mean"] == read_metrics(Path("runs/other/lr=0.01"))[-1]["test"]


# -------------------------------------------------------------------------------------- searches

SEARCH = """
    epochs = 1
    batch = 32
    train-limit = 200
    val = 0.2

    [sweep]
    net = "tiny.net"

    [search]
    trials = 5
    seed = 3
    lr = {low = 1e-4, high = 1e-1, log = true}
    optimizer = ["adam", "lion"]

    [search.set]
    hidden = {low = 8, high = 32, step = 8}
    """


def trials(out: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted((out / "sweep").glob("trial-*.json"))]


@pytest.mark.heavy
def test_a_search_draws_its_trials_and_goes_on_after_a_kill(run: Run, write: Write) -> None:
    pytest.importorskip("optuna")
    path, out = write(SEARCH, "wide.toml"), Path("runs/wide")
    kill_after(out, 2, "sweep", str(path), "--jobs", "1")
    before, ended = trials(out), ends(out)
    done = run("sweep", path, "--format", "json", "--jobs", "1")
    assert done.code == 0, done.err
    assert ended.items() <= ends(out).items()
    after = trials(out)
    assert after[: len(before)] == before
    assert len(after) == 5
    rows = json.loads(done.out)
    found = [{**row["choices"]} for row in rows]
    assert sorted(map(str, found)) == sorted(
        str({name.removeprefix("set/"): value for name, value in trial.items()}) for trial in after
    )
    means = [row["val"]["mean"] for row in rows]
    assert means == sorted(means, reverse=True)
    for trial in after:
        assert 1e-4 <= trial["lr"] <= 1e-1
        assert trial["set/hidden"] in (8, 16, 24, 32)
    assert len({str(trial) for trial in after}) > 3
    # The same seed draws the same first trials.
    first = write(SEARCH.replace("trials = 5", "trials = 1"), "first.toml")
    again = run("sweep", first, "--out", "again", "--jobs", "1")
    assert again.code == 0
    assert trials(Path("again"))[:1] == before[:1]
    (out / "sweep/trial-0001.json").write_text('{"lr": 7}')
    assert "is not what is searched" in run("sweep", path).err


def test_each_trial_has_all_seeds(run: Run, write: Write) -> None:
    pytest.importorskip("optuna")
    path = write(
        "seed = [1, 2]\nepochs = 1\ntrain-limit = 100\n[sweep]\nnet = 'tiny.net'\n[search]\n"
        "trials = 2\noptimizer = ['adam', 'sgd']\n", "seeds.toml",
    )  # fmt: skip
    rows = json.loads(run("sweep", path, "--format", "json").out)
    assert [row["ends"] for row in rows] in ([{"done": 2}] * 2, [{"done": 4}])
    assert len([*Path("runs/seeds").glob("trial-*,seed=*")]) == 4


@pytest.mark.heavy
def test_a_trial_that_is_worse_than_the_median_is_pruned(run: Run, write: Write) -> None:
    """Seven trials of which the last ones hardly learn: they end early, and stay ended."""
    pytest.importorskip("optuna")
    path = write(
        "epochs = 150\ntrain-limit = 400\nval = 0.2\n[sweep]\nnet = 'tiny.net'\n[search]\n"
        "trials = 7\nseed = 1\npruner = 'median'\nlr = {low = 1e-9, high = 1e-2, log = true}\n",
        "short.toml",
    )  # fmt: skip
    done = run("sweep", path, "--format", "json", "--jobs", 1)
    assert done.code == 0, done.err
    ended = {state: done.err.count(f": {state}") for state in ("val", "pruned")}
    assert ended["val"] + ended["pruned"] == 7
    assert ended["pruned"] >= 1
    rows = json.loads(done.out)
    assert [next(iter(row["ends"])) for row in rows][: ended["val"]] == ["done"] * ended["val"]
    again = run("sweep", path, "--format", "json", "--jobs", 1)
    assert "7 of them ended before" in again.err
    assert json.loads(again.out) == rows


def test_a_trial_of_several_runs_is_not_pruned() -> None:
    with pytest.raises(NetspecError, match="the one run of a trial"):
        sweep_of("seed = [1, 2]\n[search]\npruner = 'median'\nlr = [1e-3]\n")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("trials = 0\nlr = [1e-3]", "`trials` must be a whole number, at least 1"),
        ("trials = 3", "nothing is searched"),
        ("lr = 3", "`lr` must be a list of values, or a range"),
        ("lr = {low = 1.0, high = 0.1}", "a range has a low number and a higher one"),
        ("l2 = {low = 0.0, high = 1.0, log = true}", "a range on a scale of logs is above 0"),
        ("lr = {low = 0.1, high = 1.0, steps = 3}", "`lr` must be a list of values, or a range"),
        ("epochs = {low = 1, high = 9, step = 0.5}", "a range of whole numbers has a whole step"),
        ("lr = {low = -1.0, high = 1.0}", "the learning rate must be more than 0"),
        ("rate = {low = 0.1, high = 1.0}", "there is no training option `rate`"),
        ("optimizer = ['adam', 'adm']", "`optimizer` must be one of"),
        ("batch = [8]", "`batch` is searched, and is given too"),
        ("lr = [1e-3]\npruner = 'half'", "`pruner` must be one of median"),
    ],
)
def test_a_wrong_search_is_shown_where_it_is_wrong(table: str, message: str) -> None:
    with pytest.raises(NetspecError) as caught:
        sweep_of(f"batch = 16\n[search]\n{table}\n")
    first = caught.value.diagnostics[0]
    assert message in first.message
    assert first.span is not None
    with pytest.raises(NetspecError, match="alone may have several values"):
        sweep_of("l2 = [0.1, 0.2]\n[search]\nlr = [1e-3]\n")


def test_without_optuna_a_search_says_what_to_install(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    refused = run("sweep", write(SEARCH, "wide.toml"))
    assert refused.code == 1
    assert "error[library/optuna]" in refused.err
    assert not Path("runs").exists()


def test_a_sweep_whose_net_was_changed_says_where_its_net_is(run: Run, write: Write) -> None:
    path = write("lr = [1e-4, 1e-2]\nepochs = 1\n[sweep]\nnet = 'tiny.net'\n", "s.toml")
    assert run("sweep", path).code == 0
    before = Path("tiny.net").read_text()
    write(NET.replace("relu", "gelu"), "tiny.net")
    refused = run("sweep", path)
    assert refused.code == 2
    assert "error[run/fixed]: runs/s is a sweep with another `net`" in refused.err
    (shown,) = re.findall(r"= note: the net of the sweep is in (.*)", refused.err)
    assert Path(shown).read_text() == before
    assert run("sweep", path, "--out", "runs/other").code == 0
