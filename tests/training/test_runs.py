"""Runs that are kept: the contents of their folder, and resuming as if they had never stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.runtime.optim.optimizers import OPTIMIZERS
from netspec.runtime.runs.checkpoint import LAST, load_checkpoint
from netspec.runtime.runs.folder import FACTS, free_name
from netspec.runtime.runs.metrics import read_metrics
from netspec.runtime.weights.weights_file import load_weights
from tests.conftest import Run
from tests.helpers.errors import fails
from tests.helpers.killing import NET, send, stop_after, without_times

# Small, but with everything that has state. There are seven steps in an epoch.
SHORT = (
    "--data", "digits", "--epochs", 2, "--batch", 32, "--train-limit", 200, "--val", 40,
    "--checkpoint-every", 3, "--log-every", 4, "--augment", "crop",
)  # fmt: skip
STEPS = 14


@pytest.fixture(autouse=True)
def few_threads(monkeypatch):
    from netspec.runtime.engine import threads

    monkeypatch.setattr(threads, "limit", lambda count: None)


@pytest.fixture
def net(tmp_path) -> Path:
    path = tmp_path / "nets/noisy.net"
    path.parent.mkdir()
    path.write_text(NET, "utf-8")
    return path


def train(run: Run, target: str, net: Path, out: Path, *options: object, code: int = 0):
    finished = run("train", target, net, *SHORT, *options, "--out", out)
    assert finished.code == code, finished.err
    return finished


def assert_same(run: Path, other: Path) -> None:
    for name in ("weights.safetensors", "checkpoints/best.safetensors"):
        assert (run / name).read_bytes() == (other / name).read_bytes(), name
    assert without_times(run) == without_times(other)


# ---------------------------------------------------------------------------------------- the folder


def test_a_run_keeps_all_that_it_was(run: Run, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nets/parts").mkdir(parents=True)
    block = "block Head(classes) x { return x -> flatten -> linear(classes) }\n"
    Path("nets/parts/head.net").write_text(block)
    text = 'from "parts/head.net" import Head\nnet A(classes = 10, k = 3) {\n'
    text += " input image: [1, 8, 8]\n output image -> conv(2, k) -> Head(classes)\n}\n"
    Path("nets/a.net").write_text(text)
    finished = run("train", "numpy", "nets/a.net", *SHORT, "--set", "k=5", "--augment", "")
    assert finished.code == 0, finished.err
    (folder,) = Path("runs").iterdir()
    assert re.fullmatch(r"A-\d{8}-\d{6}", folder.name)
    assert f"the run is saved in {folder}" in finished.err
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert names == {
        "run.json", "recipe.toml", "metrics.jsonl", "log.txt", "weights.safetensors",
        "net/a.net", "net/parts/head.net", "checkpoints/last.safetensors",
        "checkpoints/previous.safetensors", "checkpoints/best.safetensors",
    }  # fmt: skip
    assert (folder / "net/a.net").read_text() == text
    facts = json.loads((folder / FACTS).read_text())
    assert facts["arguments"] == {"k": 5}
    assert facts["versions"]["numpy"] == np.__version__
    log = (folder / "log.txt").read_text()
    assert "200 training images" not in log
    assert "epoch 2/2  loss" in log
    # The run's copy is enough to continue, and the weights are an ordinary file.
    Path("nets/a.net").unlink()
    assert run("train", "--resume", folder).code == 0
    assert netspec.load_weights(folder / "weights.safetensors").normalization is not None
    weights = netspec.load_weights(folder / "checkpoints/best.safetensors")
    netspec.load(folder / "net/a.net", k=5).compile().load_state_dict(weights.tensors)


def test_metrics_have_a_line_for_steps_and_for_epochs(run: Run, net, tmp_path) -> None:
    train(run, "numpy", net, tmp_path / "run")
    lines = read_metrics(tmp_path / "run")
    assert [line["step"] for line in lines if line["kind"] == "step"] == [4, 8, 12]
    assert [line["step"] for line in lines if line["kind"] == "epoch"] == [7, 14]
    losses = load_checkpoint(tmp_path / "run/checkpoints" / LAST).tensors["history.loss_history"]
    assert len(losses) == STEPS
    assert lines[0]["loss"] == pytest.approx(losses[:4].mean())
    assert lines[-2]["loss"] == pytest.approx(losses[7:].mean())
    assert set(lines[-2]) >= {"train", "val", "lr", "seconds", "images_per_second"}
    measured = ["test", "test_loss", "test_top5", "test_macro_f1"]
    assert [*lines[-1]] == ["kind", "epoch", "step", *measured, "seconds"]
    assert (lines[-1]["kind"], lines[-1]["epoch"], lines[-1]["step"]) == ("result", 2, 14)


def test_a_file_of_weights_and_nothing_at_all(run: Run, net, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    train(run, "numpy", net, Path("w.safetensors"))
    train(run, "numpy", net, Path("none"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["nets", "w.safetensors"]


def test_a_free_name_has_a_number_where_it_must(tmp_path) -> None:
    first = free_name("A", tmp_path)
    first.mkdir()
    second = free_name("A", tmp_path)
    assert second != first
    assert not second.exists()


# --------------------------------------------------------------------------------------- going on

CASES = [("numpy", step, ()) for step in (1, 3, 5, 7, 13)]
CASES += [("numpy", 5, ("--optimizer", name)) for name in OPTIMIZERS if name != "adam"]
CASES += [
    ("numpy", 9, ("--keep", "best", "--schedule", "step", "--every", 1, "--warmup", 1)),
    ("numpy", 9, ("--normalize", "mean-image", "--l2", 1e-2, "--clip-norm", 1, "--dtype", "float64")),
    ("numpy", 9, ("--freeze", "conv*", "--loss", "svm")),
    ("numpy", 9, ("--eval-every", 2, "--test-every", 1, "--keep", "best")),
    ("numpy", 3, ("--eval-every", 0)),
    ("c", 5, ()),
    ("c", 9, ("--freeze", "conv*", "--dtype", "float64", "--accumulate", 2, "--ema", 0.9)),
    ("torch", 1, ()),
    ("torch", 9, ("--optimizer", "momentum", "--keep", "best")),
    ("torch", 5, ("--optimizer", "rmsprop", "--l2", 1e-2, "--eval-every", 2)),
    ("torch", 7, ("--optimizer", "sgd", "--channels-last")),
    ("torch", 5, ("--amp", "bf16")),
]  # fmt: skip


@pytest.mark.parametrize(("target", "step", "options"), CASES)
def test_a_run_goes_on_to_the_bit(
    run: Run, net, tmp_path, monkeypatch, target, step, options
) -> None:
    if target == "torch":
        pytest.importorskip("torch").set_num_threads(1)
        options = (*options, "--device", "cpu", "--threads", 1)
    unbroken, stopped = tmp_path / "unbroken", tmp_path / "stopped"
    train(run, target, net, unbroken, *options)
    with monkeypatch.context() as patch:
        stop_after(patch, target, step, send(signal.SIGTERM))
        train(run, target, net, stopped, *options, code=143)
    assert load_checkpoint(stopped / "checkpoints" / LAST).step == step
    finished = run("train", "--resume", stopped)
    assert finished.code == 0, finished.err
    assert f"continues from step {step}" in finished.err
    assert_same(stopped, unbroken)


def test_the_history_of_a_run_that_went_on_is_whole(run: Run, net, tmp_path, monkeypatch) -> None:
    from netspec.runtime.training import fit as trainer

    seen = []
    fit = trainer.fit
    monkeypatch.setattr(trainer, "fit", lambda *a, **k: seen.append(fit(*a, **k)) or seen[-1])
    train(run, "numpy", net, tmp_path / "unbroken")
    with monkeypatch.context() as patch:
        stop_after(patch, "numpy", 9, send(signal.SIGTERM))
        train(run, "numpy", net, tmp_path / "run", code=143)
    assert run("train", "--resume", tmp_path / "run").code == 0
    whole, _, again = seen
    for name in ("loss_history", "learning_rates", "val_acc_history", "test_acc_history"):
        assert getattr(whole, name) == getattr(again, name)
    assert whole.kept_epoch == again.kept_epoch


def test_a_run_that_is_over_can_go_on_for_longer(run: Run, net, tmp_path) -> None:
    out = tmp_path / "run"
    first = train(run, "numpy", net, out)
    again = run("train", "--resume", out)
    assert (again.code, again.out) == (0, first.out)
    longer = run("train", "numpy", net, "--resume", out, "--epochs", 3, "--lr", 1e-3)
    assert longer.code == 0
    assert "epochs differs from the run's: 2 -> 3" in longer.err
    assert "lr differs from the run's: 0.002 -> 0.001" in longer.err
    assert [line["epoch"] for line in read_metrics(out) if line["kind"] == "epoch"] == [1, 2, 3]
    assert json.loads((out / FACTS).read_text())["options"]["lr"] == 1e-3
    assert "lr = 0.001" in (out / "recipe.toml").read_text()
    # The settings that it was resumed with are now its own.
    assert "differs" not in run("train", "--resume", out).err


def test_worse_weights_of_a_longer_run_say_where_the_best_are(run: Run, net, tmp_path) -> None:
    out = tmp_path / "run"
    train(run, "numpy", net, out, "--lr", 0.01, "--augment", "", "--epochs", 4)
    longer = run("train", "--resume", out, "--epochs", 5, "--lr", 3, "--schedule", "constant")
    assert longer.code == 0
    weights, best = out / "weights.safetensors", out / "checkpoints/best.safetensors"
    assert f"the weights at its end take the place of {weights}" in longer.err
    scores = [line["val"] for line in read_metrics(out) if line["kind"] == "epoch"]
    assert max(scores) > scores[-1]
    at = scores.index(max(scores)) + 1
    assert f"those of epoch {at}, the best in validation so far, are in {best}" in longer.err


def test_a_net_that_has_changed_beside_its_run_is_told(run: Run, net, tmp_path) -> None:
    out = tmp_path / "run"
    train(run, "numpy", net, out)
    told = "has changed since the run was started, and the run's own copy of it is used"
    assert told not in run("train", "--resume", out).err
    net.write_text(net.read_text() + "\n# another width\n")
    assert told in run("train", "--resume", out).err
    assert told in run("train", "numpy", out, "--out", tmp_path / "again").err
    net.unlink()
    assert told not in run("train", "--resume", out).err


def test_options_that_no_step_is_taken_with_are_not_written_down(run: Run, net, tmp_path) -> None:
    out = tmp_path / "run"
    first = train(run, "numpy", net, out)
    kept = {name: (out / name).read_bytes() for name in (FACTS, "recipe.toml")}
    again = run("train", "--resume", out, "--lr", 1e-5)
    assert (again.code, again.out) == (0, first.out)
    assert (
        "nothing is left to train; the options stay as they were (more --epochs go on)" in again.err
    )
    assert {name: (out / name).read_bytes() for name in kept} == kept
    # A run that stopped early has epochs left, but no step to take.
    early = tmp_path / "early"
    train(run, "numpy", net, early, "--early-stopping", 1, "--epochs", 9, "--lr", 1e-9)
    assert len([line for line in read_metrics(early) if line["kind"] == "epoch"]) < 9
    settled = run("train", "--resume", early, "--lr", 1e-3)
    assert "nothing is left to train; the options stay as they were\n" in settled.err
    assert json.loads((early / FACTS).read_text())["options"]["lr"] == 1e-9


def test_the_record_says_until_when_other_options_applied(run: Run, net, tmp_path) -> None:
    out = tmp_path / "run"
    train(run, "numpy", net, out)
    assert json.loads((out / FACTS).read_text())["before"] == {}
    for epochs, lr in ((3, 1e-3), (4, 1e-4)):
        longer = run("train", "--resume", out, "--epochs", epochs, "--lr", lr)
        assert longer.code == 0, longer.err
    assert json.loads((out / FACTS).read_text())["before"] == {
        "14": {"epoch": 2, "options": {"epochs": 2, "lr": 0.002}},
        "21": {"epoch": 3, "options": {"epochs": 3, "lr": 0.001}},
    }
    assert (
        "# Until step 14, in epoch 2: epochs = 2, lr = 0.002\n" in (out / "recipe.toml").read_text()
    )
    # The recipe is still one, and another run with its options is not of the same choices.
    train(run, "numpy", net, tmp_path / "other", "--recipe", out / "recipe.toml", "--epochs", 4)
    compared = run("runs", out, tmp_path / "other", "--compare").out
    assert re.search(r"^lr until step 14 +0.002 +-$", compared, re.MULTILINE), compared
    facts = json.loads((out / FACTS).read_text())
    (out / FACTS).write_text(json.dumps(facts | {"before": {"14": {"options": []}}}))
    assert "`before` lacks a step, an epoch or options" in run("runs", out).err


def test_runs_of_other_nets_and_unfinished_ones_are_no_seeds(run: Run, net, tmp_path) -> None:
    runs = tmp_path / "runs"

    def over_seeds() -> list[int]:
        told = json.loads(run("runs", runs, "--compare", "--format", "json").out)
        return sorted(row["over_seeds"]["runs"] for row in told)

    train(run, "numpy", net, runs / "a", "--seed", 0)
    net.write_text(f"# A comment.\n\n{NET}", "utf-8")
    train(run, "numpy", net, runs / "b", "--seed", 1)
    assert over_seeds() == [2, 2]
    train(run, "numpy", net, runs / "equal", "--seed", 1)
    assert over_seeds() == [1, 2, 2]
    net.write_text(NET.replace("linear(16) -> relu", "linear(8) -> tanh"), "utf-8")
    train(run, "numpy", net, runs / "edited", "--seed", 2)
    assert over_seeds() == [1, 1, 2, 2]
    compared = run("runs", runs, "--compare").out
    nets = re.search(r"^net((?: +Noisy \([0-9a-f]{6}\)){4})$", compared, re.MULTILINE)
    assert nets is not None, compared
    assert len({*re.findall(r"\w{6}\)", nets[1])}) == 2
    # As if it had been interrupted in its second epoch.
    shutil.copytree(runs / "b", runs / "half")
    facts = json.loads((runs / "half" / FACTS).read_text())
    facts["options"]["seed"] = 3
    (runs / "half" / FACTS).write_text(json.dumps(facts))
    lines = (runs / "half/metrics.jsonl").read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if '"kind": "epoch"' in line)
    (runs / "half/metrics.jsonl").write_text("".join(lines[: first + 1]))
    assert over_seeds() == [1, 1, 1, 2, 2]
    # Lines that are alike in all settings are told apart by the names of the runs.
    assert run("plot", runs, "-o", tmp_path / "all.csv").code == 0
    table = (tmp_path / "all.csv").read_text().splitlines()
    assert table[0].startswith("net,run,epoch,")
    assert {line.split(",")[1] for line in table[1:]} == {"a", "edited", "equal", "half"}


def test_another_schedule_takes_the_place_of_the_runs(run: Run, net, tmp_path) -> None:
    out = tmp_path / "run"
    train(run, "numpy", net, out, "--minimum", 1e-4)
    longer = run("train", "--resume", out, "--epochs", 3, "--schedule", "exponential")
    assert longer.code == 0, longer.err
    options = json.loads((out / FACTS).read_text())["options"]
    assert (options["minimum"], options["gamma"]) == (None, 0.95)
    assert "gamma = 0.95" in (out / "recipe.toml").read_text()


def test_runs_compare_what_was_said_and_not_the_defaults_of_each(run: Run, net, tmp_path) -> None:
    for name, options in (("a", []), ("b", ["--optimizer", "sgd"]), ("c", ["--beta1", 0.8])):
        train(run, "numpy", net, tmp_path / "runs" / name, *options)
    compared = run("runs", tmp_path / "runs", "--compare").out
    assert "optimizer" in compared
    assert re.search(r"^beta1 +0.9 +- +0.8|^beta1 +0.9 +0.8", compared, re.M), compared
    assert "beta2" not in compared


def test_what_cannot_change_is_refused(run: Run, net, tmp_path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    out = tmp_path / "run"
    train(run, "numpy", net, out)
    before = (out / FACTS).read_bytes()
    finished = run(
        "train", "torch", "--resume", out, "--batch", 8, "--seed", 3, "--optimizer", "sgd",
        "--set", "classes=12", "--val", 40, "--out", tmp_path / "elsewhere",
    )  # fmt: skip
    assert finished.code == 2
    told = re.findall(r"error\[run/fixed\]: (\S+(?: classes)?)", finished.err)
    assert sorted(told) == ["--batch", "--optimizer", "--out", "--seed", "--set classes", "the"]
    assert "it is 32, not 8" in finished.err
    net.write_text(NET.replace("16", "17"))
    finished = run("train", "numpy", net, "--resume", out)
    assert finished.code == 2
    assert "noisy.net has changed since the run was started" in finished.err
    assert run("train", "--resume", out, "--recipe", "x.toml").code == 2
    assert run("train", "--resume", out, "--data", "mnist", "--data-dir", tmp_path).code != 0
    assert (out / FACTS).read_bytes() == before


def test_other_data_and_other_versions_are_noticed(run: Run, net, tmp_path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 255, (60, 1, 8, 8), np.uint8), "y_train": np.arange(60) % 10,
        "x_test": rng.integers(0, 255, (20, 1, 8, 8), np.uint8), "y_test": np.arange(20) % 10,
    }  # fmt: skip
    np.savez(tmp_path / "d.npz", **arrays)
    out = tmp_path / "run"
    train(run, "numpy", net, out, "--data", tmp_path / "d.npz", "--train-limit", 20)
    (tmp_path / "d.npz").rename(tmp_path / "moved.npz")
    facts = json.loads((out / FACTS).read_text())
    facts["versions"]["numpy"] = "1.0"
    (out / FACTS).write_text(json.dumps(facts))
    moved = run("train", "--resume", out, "--data", tmp_path / "moved.npz", "--epochs", 3)
    assert moved.code == 0, moved.err
    assert "numpy was 1.0 and is" in moved.err
    arrays["y_train"][0] = 5
    np.savez(tmp_path / "moved.npz", **arrays)
    assert "error[run/data-changed]" in run("train", "--resume", out).err


def test_going_on_with_what_is_no_run(run: Run, tmp_path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        finished = run("train", "--resume", path)
        assert finished.code == 2
        assert "error[run/missing]" in finished.err
    assert "usage/train" in run("train", "numpy").err


# ---------------------------------------------------------------------------------- what is shown


def test_quiet_and_lines_for_steps(run: Run, net, tmp_path) -> None:
    quiet = train(run, "numpy", net, tmp_path / "a", "--quiet")
    assert quiet.err == ""
    assert quiet.out.startswith("test accuracy ")
    assert "epoch 2/2" in (tmp_path / "a/log.txt").read_text()
    lines = train(run, "numpy", net, tmp_path / "b", "--log-every", 2).err.splitlines()
    assert (
        len([line for line in lines if re.match(r"epoch \d/2  step [246]/7  loss \d", line)]) == 6
    )


def test_the_live_line_says_it_all(monkeypatch, capsys) -> None:
    from tqdm import tqdm

    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    update = tqdm.update
    monkeypatch.setattr(tqdm, "update", lambda bar, n: update(bar, n) or bar.refresh())
    model = netspec.loads(NET).compile()
    data = netspec.load_data("digits")
    netspec.fit(model, data, epochs=2, train_limit=64, batch=32, val=32, progress=True)
    err = capsys.readouterr().err
    assert re.search(
        r"loss \d\.\d+  epoch 2/2 +75% \|.*\| [\d.]+k? img/s \d\d:\d\d left, val \d+\.\d%", err
    )
    assert "measuring val" in err
    assert err.index("epoch 2/2  loss") < err.index("measuring test")
    assert "epoch 2/2  loss" in err  # the line that stays


def test_runs_are_listed_and_compared(run: Run, net, tmp_path) -> None:
    runs = tmp_path / "runs"
    train(run, "numpy", net, runs / "one")
    train(run, "numpy", net, runs / "two", "--lr", 1e-2, "--set", "classes=12")
    listed = run("runs", runs)
    assert listed.code == 0
    assert re.search(r"^1  \S*one +Noisy +numpy +digits +2/2", listed.out, re.MULTILINE)
    compared = run("runs", runs / "one", runs / "two", "--compare").out
    assert re.search(r"^lr +0.002 +0.01$", compared, re.MULTILINE)
    assert re.search(r"^set classes +- +12$", compared, re.MULTILINE)
    assert "epochs " not in compared.partition("choice")[2]
    rows = json.loads(run("runs", runs, "--format", "json", "--sort", "test").out)
    assert rows[0]["test"] >= rows[1]["test"]
    (runs / "two/run.json").write_text("{")
    partly = run("runs", runs)
    assert partly.code == 1
    assert "run/damaged" in partly.err
    assert "one" in partly.out
    assert run("runs", net.parent).code == 2


def test_event_files_for_tensorboard(run: Run, net, tmp_path, monkeypatch) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(patch, "numpy", 9, send(signal.SIGTERM))
        train(run, "numpy", net, out, "--tensorboard", code=143)
    assert run("train", "--resume", out, "--tensorboard").code == 0
    events = EventAccumulator(str(out))
    events.Reload()
    assert [e.step for e in events.Scalars("accuracy/val")] == [7, 14]
    (tested,) = events.Scalars("accuracy/test")
    assert (tested.step, tested.value) == (14, pytest.approx(read_metrics(out)[-1]["test"]))
    assert [e.step for e in events.Scalars("loss/steps")] == [4, 8, 12]
    assert [e.step for e in events.Scalars("learning rate")] == [4, 8, 12]
    about = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    chosen = HParamsPluginData.FromString(about).session_start_info.hparams
    assert chosen["lr"].number_value == 2e-3
    assert chosen["optimizer"].string_value == "adam"
    assert chosen["augment"].string_value == "crop"
    graph = GraphDef.FromString(events.Graph().SerializeToString())
    (conv,) = [node for node in graph.node if node.op == "conv"]
    assert list(conv.input) == ["image"]
    assert [dim.size for dim in conv.attr["_output_shapes"].list.shape[0].dim] == [-1, 4, 8, 8]
    weights = load_weights(out / "weights.safetensors").tensors
    assert {*events.Tags()["histograms"]} == {name.replace(".", "/") for name in weights}
    for name, array in weights.items():
        *_, last = events.Histograms(name.replace(".", "/"))
        assert last.step == 14
        assert last.histogram_value.num == array.size
        assert last.histogram_value.sum == pytest.approx(array.astype("f8").sum(), abs=1e-4)
    (shown,) = events.Images("mistakes")
    assert shown.step == 14
    assert shown.encoded_image_string.startswith(b"\x89PNG")
    assert shown.height > shown.width / 2


def test_event_files_are_new_ones_whatever_lies_in_the_folder(tmp_path, monkeypatch) -> None:
    pytest.importorskip("tensorboard")
    from netspec.runtime.runs.tracking import tensorboard

    monkeypatch.setattr("time.time", lambda: 1e9)
    outside = tmp_path / "outside"
    outside.write_bytes(b"kept")
    folder = tmp_path / "run"
    folder.mkdir()
    names = [f"events.out.tfevents.1000000000.netspec.{os.getpid()}.{i}" for i in range(4)]
    (folder / names[0]).symlink_to(outside)
    (folder / names[1]).symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / names[2])
    for _ in range(2):
        events = tensorboard.Events(folder, 3)
        events.begin("run", 3, {"lr": 0.1}, None)
        events.write({"kind": "result", "epoch": 1, "step": 3, "test": 0.5, "seconds": 1.0})
        events.close("finished")
    assert outside.read_bytes() == b"kept"
    assert not (tmp_path / "nowhere").exists()
    assert sorted(p.name for p in folder.iterdir()) == [*names, f"{names[3][:-1]}4"]
    assert all((folder / name).stat().st_size > 100 for name in (names[3], f"{names[3][:-1]}4"))


def test_a_full_disk_of_event_files_is_an_ordinary_error(tmp_path, monkeypatch) -> None:
    pytest.importorskip("tensorboard")
    from netspec.runtime.runs.tracking import tensorboard

    def full() -> None:
        raise OSError(28, "No space left on device")

    events = tensorboard.Events(tmp_path, 0)
    with monkeypatch.context() as patch:
        patch.setattr(events._writer, "flush", full)
        with fails("output/disk-full", "events.out"):
            events.flush()
    events.close("finished")


def test_tensorboard_that_is_not_there(run: Run, net, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.summary.writer.record_writer", None)
    finished = run("train", "numpy", net, *SHORT, "--tensorboard", "--out", tmp_path / "run")
    assert finished.code == 1
    assert "run/no-tensorboard" in finished.err
    assert not (tmp_path / "run").exists()


def test_the_log_leaves_no_handler_behind_and_warnings_are_marked(capsys):
    """With two runs in one process each line is printed once, and loggers are restored."""
    import logging

    from netspec.cli.train_log import training_log

    root = logging.getLogger("netspec")
    before = (list(root.handlers), root.level, root.propagate)
    for quiet in (False, True):
        with training_log(quiet=quiet, writes=True) as waiting:
            logging.getLogger("netspec.cli.train").info("a line")
            logging.getLogger("netspec.runtime.runs").warning("%s is short", "it")
        assert len(waiting.buffer) == 2
        shown = "" if quiet else "a line\n"
        assert capsys.readouterr().err == f"{shown}warning: it is short\n"
    with training_log(quiet=False, writes=False):
        logging.getLogger("netspec.cli.train").warning("another process says this")
    assert capsys.readouterr().err == ""
    assert (list(root.handlers), root.level, root.propagate) == before
