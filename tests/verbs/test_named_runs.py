"""A run in place of a net: it knows its net, `--set`, data, normalisation, loss and weights."""

from __future__ import annotations

import importlib.util
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.export import assemble
from tests.conftest import Run

NET = """\
net Small(classes = 10, wide = 4) {
    input image: [1, 8, 8]
    output image -> conv(wide, 3, pad = 1) -> relu -> flatten -> linear(classes)
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Make a folder with a net, data that are not the default, and a run with them."""
    from netspec.cli import main

    root = tmp_path_factory.mktemp("named")
    (root / "small.net").write_text(NET)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (80, 1, 8, 8)).astype(np.uint8)
    y = np.arange(80) % 3
    x[np.arange(80), 0, y] = 255
    np.savez(root / "three.npz", x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    np.save(root / "photo.npy", x[61])
    options = (
        "--set", "classes=3", "--set", "wide=2", "--data", f"{root}/three.npz", "--epochs", 3,
        "--normalize", "mean-image", "--batch", 10, "--label-smoothing", 0.1, "--quiet",
        "--out", root / "run",
    )  # fmt: skip
    assert main(["train", "numpy", str(root / "small.net"), *map(str, options)]) == 0
    return root


def _imported(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("a_standalone_file", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["a_standalone_file"] = module  # where its dataclasses look for their names
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["a_standalone_file"]
    return module


def test_a_run_alone_is_evaluated_as_it_was_trained(folder: Path, run: Run) -> None:
    finished = run("eval", folder / "run", "--format", "json")
    assert finished.code == 0, finished.err
    assert finished.err == ""
    found = json.loads(finished.out)
    (last,) = [
        line
        for line in map(json.loads, (folder / "run/metrics.jsonl").read_text().splitlines())
        if line["kind"] == "result" and line["epoch"] == 3
    ]
    assert found["accuracy"] == last["test"]
    assert found["data"] == "three"
    assert len(found["classes"]) == 3


def test_weights_of_a_run_bring_its_data_and_its_loss(folder: Path, run: Run) -> None:
    sets = ("--set", "classes=3", "--set", "wide=2", "--format", "json")
    whole = run("eval", folder / "run", "--format", "json")
    for weights in ("run", "run/weights.safetensors", "run/checkpoints/../weights.safetensors"):
        named = run("eval", folder / "small.net", "--weights", folder / weights, *sets)
        assert (named.code, named.err) == (0, "")
        assert json.loads(named.out) == json.loads(whole.out)


def test_what_contradicts_the_run_is_said(folder: Path, run: Run) -> None:
    other = folder / "other.npz"
    with np.load(folder / "three.npz") as arrays:
        np.savez(other, **arrays)
    finished = run("eval", folder / "run", "--data", other, "--loss", "svm", "--normalize", "none")
    assert finished.code == 0
    assert finished.err.splitlines() == [
        f"note: --data {other}: {folder}/run was trained with {folder}/three.npz",
        f"note: --loss svm: {folder}/run was trained with softmax",
        f"note: --normalize none: {folder}/run was trained with mean-image",
    ]
    same = run("eval", folder / "run", "--data", folder / "three.npz", "--normalize", "mean-image")
    assert (same.code, same.err) == (0, "")


def test_an_argument_that_the_run_had_otherwise_is_said(folder: Path, run: Run) -> None:
    finished = run("summarize", folder / "run", "--set", "wide=5")
    assert finished.code == 0
    assert finished.err == f"note: --set wide 5: {folder}/run was trained with 2\n"


def test_a_forgotten_set_is_one_line(folder: Path, run: Run) -> None:
    finished = run("eval", folder / "small.net", "--weights", folder / "run", "--set", "wide=2")
    assert finished.code == 1
    assert finished.err.split("\n")[:2] == [
        "error[weights/mismatch]: the weights do not fit the network: they belong to a net with --set"
        " classes=3",
        f"   = help: the run knows its net: {folder}/run in place of the file",
    ]


def test_mismatches_of_many_tensors_are_not_all_listed() -> None:
    from netspec.runtime.weights.safetensors_file import check_tensors

    with pytest.raises(netspec.NetspecError) as error:
        check_tensors({}, {f"layer{i}.weight": (i,) for i in range(90)})
    (diagnostic,) = error.value.diagnostics
    assert "90 tensors differ" in diagnostic.message
    assert len(diagnostic.notes) < 12
    assert diagnostic.notes[-1].endswith("more")


def test_a_run_alone_predicts(folder: Path, run: Run) -> None:
    finished = run("predict", folder / "run", folder / "photo.npy", "--format", "json")
    assert (finished.code, finished.err) == (0, "")
    named = run(
        "predict", folder / "small.net", "--set", "classes=3", "--set", "wide=2", "--weights",
        folder / "run", folder / "photo.npy", "--format", "json",
    )  # fmt: skip
    assert named.out == finished.out
    said = run("predict", folder / "run", folder / "photo.npy", "--normalize", "unit")
    assert "note: --normalize unit: " in said.err


def test_weights_of_elsewhere_are_used_with_what_the_run_knows(
    folder: Path, run: Run, tmp_path: Path
) -> None:
    """Weights that a loop of one's own trained further say nothing of images."""
    bare = tmp_path / "tuned.safetensors"
    netspec.save_weights(bare, netspec.load_weights(folder / "run/weights.safetensors").tensors)
    whole = run("eval", folder / "run", "--format", "json")
    notes = [
        f"note: --weights {bare}: not those of {folder}/run",
        f"note: the weights do not say how images were normalised; {folder}/run does: mean-image",
    ]
    tuned = run("eval", folder / "run", "--weights", bare, "--format", "json")
    assert (tuned.code, tuned.err.splitlines()) == (0, notes)
    assert json.loads(tuned.out) == json.loads(whole.out)
    said = run("eval", folder / "run", "--weights", bare, "--normalize", "none")
    assert f"{folder}/run was trained with mean-image" in said.err
    own = run("predict", folder / "run", folder / "photo.npy")
    other = run("predict", folder / "run", "--weights", bare, folder / "photo.npy")
    assert (other.code, other.out, other.err.splitlines()) == (0, own.out, notes)
    for target in ("numpy", "torch", "onnx"):
        made = tmp_path / f"of_{target}.{'onnx' if target == 'onnx' else 'py'}"
        more = ("--standalone",) if target == "numpy" else ("--normalize",)
        named = ("compile", folder / "run", "--weights", bare, "--target", target, *more)
        finished = run(*named, "-o", made)
        assert finished.code == 0, finished.err


def test_a_net_and_weights_of_no_run_say_nothing_of_another_normalization(
    folder: Path, run: Run, tmp_path: Path
) -> None:
    bare = tmp_path / "run"
    bare.mkdir()
    for name in ("run.json", "recipe.toml", "small.net"):
        found = next((folder / "run").rglob(name), None)
        if found is not None:
            (bare / found.relative_to(folder / "run")).parent.mkdir(parents=True, exist_ok=True)
            (bare / found.relative_to(folder / "run")).write_bytes(found.read_bytes())
    tensors = netspec.load_weights(folder / "run/weights.safetensors").tensors
    netspec.save_weights(tmp_path / "w.safetensors", tensors)
    finished = run("eval", bare, "--weights", tmp_path / "w.safetensors", "--normalize", "none")
    assert finished.code == 0, finished.err
    assert "was trained with" not in finished.err


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_a_run_alone_compiles(folder: Path, run: Run, target: str) -> None:
    finished = run("compile", folder / "run", "--target", target)
    assert finished.code == 0
    assert "note: the program holds no weights of " in finished.err
    net = run(
        "compile", folder / "small.net", "--target", target, "--set", "classes=3", "--set", "wide=2"
    )
    of_run, alone = (text.partition("\nimport ")[2] for text in (finished.out, net.out))
    assert of_run == alone != ""


@pytest.fixture
def moved(folder: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a run whose data were moved to a place below."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.npz").write_bytes((folder / "three.npz").read_bytes())
    (tmp_path / "small.net").write_text(NET)
    done = run("train", "numpy", "small.net", "--data", "d.npz", "--epochs", 1, "--out", "r")
    assert done.code == 0, done.err
    (tmp_path / "below").mkdir()
    (tmp_path / "d.npz").rename(tmp_path / "below/d.npz")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("compile r --target c --int8 -o n.c", "--calibrate"),
        ("eval r", "--data"),
        ("gradcheck r", "--data"),
        ("doctor r", "--data"),
        ("train numpy --resume r --epochs 2", "--data"),
    ],
)
def test_data_of_a_run_that_were_moved_are_named_by_an_option(
    moved: Path, run: Run, command: str, option: str
) -> None:
    done = run(*command.split())
    assert done.code == 1
    assert "error[data/missing-file]: no such file: d.npz\n" in done.err
    assert f"note: r was trained with d.npz, which is looked for in {moved}\n" in done.err
    assert f"help: if the data were moved, name them: {option} PATH\n" in done.err
    done = run(*command.split(), option, "below/d.npz")
    assert "missing-file" not in done.err
    assert done.code == 0 or command.startswith("doctor")
    other = run(*command.split(), option, "gone.npz")
    assert "error[data/missing-file]: no such file: gone.npz\n" in other.err
    assert "were moved" not in other.err


def test_other_data_for_scales_are_called_as_the_option_is(moved: Path, run: Run) -> None:
    command = "compile r --target c --int8 -o n.c --calibrate below/d.npz"
    done = run(*command.split())
    assert done.code == 0, done.err
    assert "note: --calibrate below/d.npz: r was trained with d.npz\n" in done.err
    assert "--data " not in done.err


def test_a_module_takes_the_weights_as_the_note_says(folder: Path, run: Run) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    finished = run("compile", folder / "run", "--target", "torch")
    how = finished.err.strip().rpartition(": ")[2]
    path = folder / "run/weights.safetensors"
    assert how == f'load_state_dict(safetensors.torch.load_file("{path}"))'
    namespace: dict[str, Any] = {"__name__": "small"}
    exec(compile(finished.out, "small.py", "exec"), namespace)
    module = namespace["Small"](classes=3, wide=2)
    module.load_state_dict(load_file(path))
    assert torch.equal(module.state_dict()["conv1.bias"], load_file(path)["conv1.bias"])


@pytest.mark.parametrize("named", ["run", "weights"])
@pytest.mark.parametrize("more", [(), ("--inference",)])
def test_a_standalone_file_of_a_run_predicts_as_the_run_does(
    folder: Path, run: Run, tmp_path: Path, named: str, more: tuple[str, ...]
) -> None:
    what = (folder / "run",)
    if named == "weights":
        settings = ("--set", "classes=3", "--set", "wide=2")
        what = (folder / "small.net", *settings, "--weights", folder / "run")
    out = tmp_path / "small.py"
    command = ("compile", *what, "--target", "numpy", "--standalone", *more, "-o", out)
    finished = run(*command)
    assert (finished.code, finished.err) == (0, "")
    assert run(*command, "--check").code == 0
    net = _imported(out).Small()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shares = net.predict_proba(np.load(folder / "photo.npy")[None])[0]
    told = run("predict", folder / "run", folder / "photo.npy", "--top", 3, "--format", "json")
    for each in json.loads(told.out)[0]["classes"]:
        assert shares[each["class"]] == pytest.approx(each["probability"], abs=1e-4)


def test_a_file_without_its_many_weights_says_how_to_load_them(
    folder: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemble, "MAX_WEIGHTS", 500)
    out = tmp_path / "small.py"
    command = ("--target", "numpy", "--standalone", "-o", out)
    finished = run("compile", folder / "run", *command)
    assert finished.code == 0
    assert f'load_weights("{folder}/run/weights.safetensors")' in finished.err
    assert ".held = " not in out.read_text()
    out.unlink()
    of_file = ("compile", folder / "small.net", "--set", "classes=3", "--set", "wide=2")
    finished = run(*of_file, "--weights", folder / "run", *command)
    assert finished.code == 0
    assert f'load_weights("{folder}/run/weights.safetensors")' in finished.err
    assert ".held = " not in out.read_text()


def test_weights_for_a_program_that_holds_none_are_refused(folder: Path, run: Run) -> None:
    finished = run("compile", folder / "run", "--target", "numpy", "--weights", folder / "run")
    assert finished.code == 2
    assert "--weights: for --target c or onnx or numpy --standalone" in finished.err


def test_runs_differ_by_their_arguments(folder: Path, run: Run) -> None:
    """A run is its net with its `--set`, on each side of `diff`."""
    of_run, of_file = folder / "run", folder / "small.net"
    finished = run("diff", of_run, of_file)
    assert finished.code == 1
    assert finished.out.startswith(f"--- {of_run}: Small with classes=3, wide=2\n")
    assert run("diff", of_run, of_file, "--set-b", "classes=3", "--set-b", "wide=2").code == 0
    assert run("diff", of_run, of_run).code == 0
    assert run("diff", of_run, "--set-b", "wide=3").code == 1
    assert run("diff", of_run, folder).code == 2


def test_a_run_is_opened_in_python(folder: Path, run: Run) -> None:
    opened = netspec.load_run(folder / "run")
    assert opened.net.graph.outputs
    assert opened.model.classes == 3
    assert opened.options["batch"] == 10
    data = opened.data()
    assert len(data.x_test) == 20
    told = json.loads(run("eval", folder / "run", "--format", "json").out)
    assert opened.model.evaluate(data).accuracy == told["accuracy"]
    assert opened.class_names == tuple(each["name"] for each in told["classes"])
    assert repr(opened) == f"<netspec.TrainedRun {folder}/run: Small>"


def test_a_run_that_is_loaded_as_a_net_names_the_function_for_it(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(netspec.NetspecError) as caught:
        netspec.load(folder / "run")
    assert caught.value.diagnostics[0].code == "file/unreadable"
    assert f'netspec.load_run("{folder}/run")' in str(caught.value)
    with pytest.raises(netspec.NetspecError, match="run/missing"):
        netspec.load_run(tmp_path)


def test_the_surest_mistakes_are_drawn_and_listed(folder: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "wrong.png"
    finished = run("eval", folder / "small.net", "--set", "classes=3", "--set", "wide=2", "--weights",
                   folder / "run", "--mistakes", out, "--format", "json", "--part", "train")  # fmt: skip
    assert finished.code == 0, finished.err
    found = json.loads(finished.out)
    listed = found["mistakes"]
    wrong = sum(map(sum, found["confusion"])) - sum(found["confusion"][k][k] for k in range(3))
    assert len(listed) == min(25, wrong)
    assert wrong, "the net is trained too well for this test"
    shares = [each["probability"] for each in listed]
    assert shares == sorted(shares, reverse=True)
    opened = netspec.load_run(folder / "run")
    data = opened.data()
    for each in listed:
        taken = opened.model.predict(data.x_train[each["image"]][None])[0]
        assert opened.class_names[taken] == each["taken_for"] != each["label"]
        assert opened.class_names[data.y_train[each["image"]]] == each["label"]
    assert out.read_bytes().startswith(b"\x89PNG")
    text = run("eval", folder / "run", "--mistakes", out, "--part", "train").out
    assert f"row 1, 1: image {listed[0]['image']}: {listed[0]['label']}, taken for" in text


def test_mistakes_are_drawn_into_png_alone(folder: Path, run: Run, tmp_path: Path) -> None:
    assert run("eval", folder / "run", "--mistakes", tmp_path / "a.svg").code == 2
    (tmp_path / "b.png").write_text("mine")
    refused = run("eval", folder / "run", "--mistakes", tmp_path / "b.png")
    assert "output/not-generated" in refused.err
    assert (tmp_path / "b.png").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "help"),
    [
        ("learning_rate", "did you mean `lr`?"),
        ("batch_size", "did you mean `batch`?"),
        ("epoch", "did you mean `epochs`?"),
        ("momentum", 'optimizer_options={"momentum": ...}'),
        ("label_smoothing", 'loss_options={"label_smoothing": ...}'),
        ("step_size", "schedule_options"),
    ],
)
def test_arguments_of_other_libraries_are_told_by_ours(folder: Path, name: str, help: str) -> None:
    opened = netspec.load_run(folder / "run")
    with pytest.raises(netspec.NetspecError) as caught:
        netspec.fit(opened.model, opened.data(), **{name: 1})
    assert f"has no argument `{name}`" in str(caught.value)
    assert help in str(caught.value)


def test_a_picture_in_front_of_its_run_is_told_the_order(folder: Path, run: Run) -> None:
    finished = run("predict", folder / "photo.npy", folder / "run")
    assert finished.code == 2
    assert f"netspec predict {folder}/run {folder}/photo.npy" in finished.err


def test_a_run_that_is_not_there_names_the_verb_that_lists_them(run: Run, tmp_path: Path) -> None:
    assert "`netspec runs` your runs" in run("eval", tmp_path / "runs/nope").err


def test_a_folder_of_a_run_is_not_reused_and_out_is_named(folder: Path, run: Run) -> None:
    finished = run("train", "numpy", folder / "small.net", "--out", folder / "run")
    assert "error[run/exists]" in finished.err
    assert "or name another folder with --out" in finished.err


def test_compared_runs_show_choices_as_a_recipe_writes_them(
    folder: Path, run: Run, tmp_path: Path
) -> None:
    import shutil

    for name, value in (("a", True), ("b", False)):
        shutil.copytree(folder / "run", tmp_path / name)
        facts = json.loads((tmp_path / name / "run.json").read_text())
        facts["options"]["amsgrad"] = value
        (tmp_path / name / "run.json").write_text(json.dumps(facts))
    out = run("runs", tmp_path, "--compare").out
    (line,) = (line for line in out.splitlines() if line.startswith("amsgrad"))
    assert line.split() == ["amsgrad", "true", "false"]


def test_warnings_of_a_run_are_not_repeated(run: Run, tmp_path: Path) -> None:
    (tmp_path / "n.net").write_text(
        "net N(bias = true) {\n    input image: [1, 8, 8]\n"
        "    output image -> conv(2, 3, bias = bias) -> batch_norm -> flatten -> linear(10)\n}\n"
    )
    out = tmp_path / "run"
    trained = run(
        "train", "numpy", tmp_path / "n.net", "--epochs", 1, "--train-limit", 50, "--out", out
    )
    assert "graph/useless-bias" in trained.err
    assert run("eval", out).err == ""
    assert "graph/useless-bias" in run("summarize", out, "--set", "bias=true").err


def test_a_repeated_run_has_the_threads_of_the_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of threads decides the last bits."""
    from netspec.runtime.engine import threads

    (tmp_path / "n.net").write_text(
        "net N {\n    input image: [1, 8, 8]\n    output image -> flatten -> linear(10)\n}\n"
    )
    asked: list[int] = []
    monkeypatch.setattr(threads, "limit", asked.append)
    first = tmp_path / "first"
    small = ("--epochs", 1, "--train-limit", 50)
    assert run("train", "numpy", tmp_path / "n.net", *small, "--out", first).code == 0
    facts = json.loads((first / "run.json").read_text())
    (first / "run.json").write_text(json.dumps(facts | {"threads": 7}))
    for i, (options, expected) in enumerate(
        [((), [7]), (("--threads", 3), [3]), (("--no-recipe", *small), [])]
    ):
        asked.clear()
        done = run("train", "numpy", first, *options, "--out", tmp_path / f"again{i}")
        assert done.code == 0, done.err
        assert asked == expected


def test_a_run_alone_is_checked_with_its_data_and_weights(folder: Path, run: Run) -> None:
    options = ("--backend", "numpy", "--directions", 1, "--format", "json")
    finished = run("gradcheck", folder / "run", *options)
    assert finished.err == ""
    assert json.loads(finished.out)["batch"] == 4


def test_a_run_alone_is_a_recipe(folder: Path, run: Run) -> None:
    out = folder / "again"
    finished = run("train", "numpy", folder / "run", "--out", out)
    assert finished.code == 0, finished.err
    before, now = (json.loads((f / "run.json").read_text()) for f in (folder / "run", out))
    assert now["arguments"] == before["arguments"]
    weights = "weights.safetensors"
    assert (out / weights).read_bytes() == (folder / "run" / weights).read_bytes()


@pytest.mark.parametrize("verb", ["eval", "predict"])
def test_a_net_without_weights_is_said_in_a_line(folder: Path, run: Run, verb: str) -> None:
    images = (folder / "photo.npy",) if verb == "predict" else ()
    finished = run(verb, folder / "small.net", *images)
    assert finished.code == 2
    assert finished.err.startswith("error[usage/weights]: the weights are missing\n")


def test_a_run_without_weights_says_how_to_get_them(folder: Path, run: Run, tmp_path) -> None:
    import shutil

    shutil.copytree(folder / "run", tmp_path / "run")
    (tmp_path / "run/weights.safetensors").unlink()
    finished = run("eval", tmp_path / "run")
    assert finished.code == 2
    assert f"netspec train --resume {tmp_path}/run" in finished.err


def test_a_run_is_computed_in_its_own_precision(tmp_path: Path, run: Run) -> None:
    """The run is given, or only its weights, or weights whose run is unknown."""
    net, folder, alone = (tmp_path / name for name in ("small.net", "run", "alone.safetensors"))
    net.write_text(NET)
    options = ("--dtype", "float64", "--epochs", 1, "--train-limit", 200, "--quiet")
    assert run("train", net, *options, "--out", folder).code == 0
    alone.write_bytes((folder / "weights.safetensors").read_bytes())
    weights = netspec.load_weights(alone)
    data = netspec.load_data("digits")
    losses = []
    for dtype in ("float64", "float32"):
        model = netspec.load(net).compile(dtype=dtype)
        model.load_state_dict(weights.tensors)
        x = weights.normalization.apply(data.x_test, dtype)
        losses.append(model.loss(x, data.y_test))
    assert abs(losses[0] - losses[1]) > 1e-12
    for named in ((folder,), (net, "--weights", folder), (net, "--weights", alone)):
        for backend in ("numpy", "torch") if importlib.util.find_spec("torch") else ("numpy",):
            found = run("eval", *named, "--backend", backend, "--format", "json")
            assert abs(json.loads(found.out)["loss"] - losses[0]) < 1e-13, (named, backend)
    np.save(tmp_path / "photo.npy", data.x_test[0])
    (shown,) = json.loads(run("predict", folder, tmp_path / "photo.npy", "--format", "json").out)
    model = netspec.load(net).compile(dtype="float64")
    model.load_state_dict(weights.tensors)
    scores = model.forward(weights.normalization.apply(data.x_test[:1], "float64"))[0]
    shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    assert abs(shown["classes"][0]["probability"] - shares.max()) < 1e-14


def test_pictures_of_other_data_are_resized_as_those_of_the_run(run: Run, tmp_path: Path) -> None:
    from netspec.cli import main
    from netspec.runtime.plots.png import save_png

    (tmp_path / "small.net").write_text(NET)
    rng = np.random.default_rng(0)
    for part, size in (("train", 8), ("other", 11)):
        for name in ("bolt", "nut"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for i in range(4):
                save_png(folder / f"{i}.png", rng.integers(0, 255, (size, size), np.uint8))
    options = ("--set", "classes=2", "--data", tmp_path / "train", "--epochs", 1, "--quiet",
               "--resize", "--val", 0.25, "--batch", 4, "--out", tmp_path / "run")  # fmt: skip
    assert main(["train", "numpy", str(tmp_path / "small.net"), *map(str, options)]) == 0
    finished = run("eval", tmp_path / "run", "--data", tmp_path / "other", "--part", "train")
    assert finished.code == 0, finished.err
    assert f"--data {tmp_path}/other" in finished.err


def test_the_arguments_of_a_recipe_are_said_where_the_net_alone_is_taken(
    run: Run, tmp_path: Path
) -> None:
    net, recipe, out = tmp_path / "wide.net", tmp_path / "wide.toml", tmp_path / "run"
    net.write_text(NET.replace("wide = 4", "wide = 6"))
    recipe.write_text("epochs = 1\ntrain-limit = 100\n[set]\nwide = 4\n")
    assert run("train", "numpy", net, "--out", out, "--quiet").code == 0
    weights = out / "weights.safetensors"
    said = f"note: {recipe} trains the net with --set wide=4, and this is the net without"
    assert said in run("compile", net, "--target", "numpy").err
    for arguments in (("--set", "wide=4"), ("--set", "wide=8")):
        assert "note" not in run("compile", net, "--target", "numpy", *arguments).err
    assert "trains the net" not in run("compile", out, "--target", "numpy").err
    # Weights of a run know it, those of no known run are told by the recipe.
    bare = tmp_path / "elsewhere/w.safetensors"
    bare.parent.mkdir()
    bare.write_bytes(weights.read_bytes())
    verbs = [("eval",), ("compile", "--target", "c"), ("gradcheck", "--backend", "numpy")]
    verbs += [("verify", "--no-torch", "--steps", "0")]
    if importlib.util.find_spec("onnx") is not None:
        verbs.append(("compile", "--target", "onnx", "-o", str(tmp_path / "a.onnx")))
    for verb, *others in verbs:
        known = run(verb, net, "--weights", weights, *others)
        assert known.code in (1, 2), known
        assert "they belong to a net with --set wide=4" in known.err
        unknown = run(verb, net, "--weights", bare, *others)
        assert f"= help: {recipe} trains the net with --set wide=4" in unknown.err, unknown
    recipe.write_text("no recipe")
    assert run("compile", net, "--target", "numpy").err == ""
