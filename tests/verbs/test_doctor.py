"""`netspec doctor`: good nets pass, and the problems of others are reported."""

from __future__ import annotations

import io
import json
import re
import shlex

import numpy as np
import pytest

import netspec
from netspec.runtime.optim.losses import make_loss
from netspec.text.live_line import LiveLine
from netspec.tools.doctor import DoctorReport, Symptom, examine
from netspec.tools.doctor.examinee import Patient
from netspec.tools.doctor.initial_checks import gradient_sizes
from netspec.tools.doctor.report import Pictured
from netspec.tools.doctor.signals import dead_units, gradients
from tests.conftest import ROOT, Run

CHECKS = [
    "initial loss", "loss with L2", "scores", "gradients", "dead units", "learning rate",
    "small batch", "gradient check",
]  # fmt: skip
HEAD = "net A(classes = 10) {{\n    input image: [1, 8, 8]\n{}}}\n"
BODY = (
    "    output image -> conv(4, 3) -> relu -> flatten -> linear(20) -> relu -> linear(classes){}\n"
)
SOUND = HEAD.format(BODY.format(""))


@pytest.fixture(scope="module")
def data():
    return netspec.load_data("digits", input_shape=(1, 8, 8))


def bad(report) -> list[str]:
    return [f.name for f in report.findings if f.verdict == "bad"]


def finding(report, name):
    return next(f for f in report.findings if f.name == name)


# --------------------------------------------------------------------------------- the nets we have


@pytest.mark.parametrize(
    ("net", "options"),
    [
        ("lenet", []),
        # These are made smaller, so that this takes seconds, and use data that are always there.
        ("threelayer", ["--set", "filters=8", "--set", "hidden=50", "--data", "digits"]),
        pytest.param(
            "resnet",
            ["--set", "depth=8", "--set", "width=4", "--data", "digits", "--batch", "16"],
            marks=pytest.mark.heavy,
        ),
    ],
)
def test_the_nets_of_the_project_are_well(run: Run, net, options):
    finished = run("doctor", ROOT / f"networks/{net}.net", *options)
    assert finished.code == 0, finished.out
    assert "BAD" not in finished.out
    assert "all is well in what was checked. If a training" in finished.out
    assert f"networks/{net}.toml" in finished.err


def test_json_has_every_check_with_its_numbers(run: Run, write):
    finished = run("doctor", write(SOUND), "--format", "json", "--l2", "0.01", "--seed", "3")
    found = json.loads(finished.out)
    assert (finished.code, found["ok"]) == (0, True)
    assert [f["check"] for f in found["findings"]] == CHECKS
    loss, l2, *_ = (f["numbers"] for f in found["findings"])
    assert loss["expected"] == pytest.approx(np.log(10))
    model = netspec.loads(SOUND).compile(seed=3)
    squares = sum(
        (model.parameters[f"{n}.weight"] ** 2).sum() for n in ("conv1", "linear1", "linear2")
    )
    assert l2["with_l2"] - l2["loss"] == pytest.approx(0.005 * squares, rel=1e-3)


# ---------------------------------------------------------------------------------------- sick nets


def test_weights_ten_times_too_large(data):
    sick = SOUND.replace("input", "init weight = normal(1.0)\n    input")
    report = examine(netspec.loads(sick), data)
    assert bad(report) == ["initial loss"]
    found = finding(report, "initial loss")
    assert "make the initial weights smaller" in found.help
    assert "linear1.weight has a standard deviation of 1" in found.help


@pytest.mark.parametrize(
    ("tail", "said"),
    [(" -> relu", "`relu3` (relu), which cuts them off"), (" -> softmax", "as probabilities")],
)
def test_something_after_the_last_layer(run: Run, write, tail, said):
    path = write(HEAD.format(BODY.format(tail)))
    finished = run("doctor", path)
    assert finished.code == 1
    assert f"BAD     scores          they come from `{said.strip('`')}"[:40] in finished.out
    assert said in finished.out
    assert f"--> {path}:3:" in finished.out
    assert "bad: scores" in finished.out


@pytest.mark.parametrize(("optimizer", "lr"), [("adam", "3"), ("sgd", "20"), ("sgd", "1e30")])
def test_a_rate_that_explodes_and_one_that_works(run: Run, write, optimizer, lr):
    path = write(SOUND)
    finished = run("doctor", path, "--optimizer", optimizer, "--lr", lr, "--format", "json")
    assert finished.code == 1
    found = json.loads(finished.out)
    assert [f["check"] for f in found["findings"] if f["verdict"] == "bad"] == ["learning rate"]
    (rate,) = (f for f in found["findings"] if f["check"] == "learning rate")
    if lr != "1e30":  # four powers of ten below it, nothing works
        works = rate["help"].removeprefix("it is too high: ").removesuffix(" works here")
        assert run("doctor", path, "--optimizer", optimizer, "--lr", works).code == 0


def test_the_recipe_says_the_rate(run: Run, write):
    path = write(SOUND, "sick.net")
    write('optimizer = "sgd"\nlr = 20.0\n', "sick.toml")
    assert "bad: learning rate" in run("doctor", path).out
    assert run("doctor", path, "--lr", "0.1").code == 0
    assert run("doctor", path, "--no-recipe").code == 0


def test_the_recipe_says_the_precision(run: Run, write, monkeypatch):
    made, compiled = [], Patient.model
    monkeypatch.setattr(Patient, "model", lambda self: made.append(compiled(self)) or made[-1])
    path = write("net Small {\n    input x: [1, 8, 8]\n    output x -> flatten -> linear(10)\n}")
    write('dtype = "float64"\n', "test.toml")
    assert run("doctor", path).code == 0
    assert {model.dtype.name for model in made} == {"float64"}


def test_uneven_gradients_are_said_and_are_no_fault(data):
    text = HEAD.format(
        "    output image -> flatten -> linear(20, weight = normal(0.0005)) -> relu -> linear(10)\n"
    )
    uneven = finding(examine(netspec.loads(text), data), "gradients")
    assert uneven.verdict == "ok"
    assert "times apart" in uneven.help
    assert finding(examine(netspec.loads(SOUND), data), "gradients").help is None


def test_what_is_tried_against_vanishing_gradients_is_what_a_net_lacks(data):
    text = HEAD.format(
        "    x = image -> flatten -> linear(16) -> relu\n"
        "    x = x + 1e-9 * (x -> layer_norm -> linear(16))\n"
        "    output x -> linear(classes)\n"
    )
    found = finding(examine(netspec.loads(text), data), "gradients")
    assert found.verdict == "bad"
    assert found.help == "they vanish: try larger initial weights"


def test_gradients_that_vanish(data):
    deep = HEAD.format(
        "    x = image -> flatten\n"
        "    for i in range(12) { x = x -> linear(16) -> sigmoid }\n    output x -> linear(classes)\n"
    )
    report = examine(netspec.loads(deep.replace("{{", "{")), data)
    assert bad(report) == ["gradients", "learning rate", "small batch"]
    help = finding(report, "gradients").help
    assert help == (
        "they vanish: try relu instead of sigmoid or tanh, batch_norm, a skip connection or larger"
        " initial weights"
    )
    assert finding(report, "gradients").where.endswith(":4:35")


def test_units_that_are_dead(data):
    dying = SOUND.replace("linear(20)", "linear(20, bias = constant(-100))")
    report = examine(netspec.loads(dying), data)
    found = finding(report, "dead units")
    assert (found.verdict, found.numbers["relu2"]) == ("bad", 1.0)
    assert found.where.endswith(":3:91")
    assert "gradients" in bad(report)  # no gradient passes dead units


def test_a_loss_that_is_too_good(data, monkeypatch):
    # A file cannot describe a net that knows the labels, so the loss of a model is patched.
    monkeypatch.setattr("netspec.runtime.models.numpy_model.Model.loss", lambda *_, **__: 0.1)
    found = finding(examine(netspec.loads(SOUND), data), "initial loss")
    assert found.verdict == "bad"
    assert "contain the labels" in found.help


# ------------------------------------------------------------------------- nets that learn nothing


LENET = (ROOT / "networks/lenet.net").read_text("utf-8")


def lenet(rules: str) -> netspec.Net:
    return netspec.loads(LENET.replace("    input image", f"    init {rules}\n    input image"))


@pytest.fixture(scope="module")
def digits():
    return netspec.load_data("digits", input_shape=(1, 28, 28))


def test_weights_too_small_for_the_rate(digits):
    """A course's run ends at 10 % accuracy: SGD at 0.01 cannot move these weights, but Adam can."""
    small = lenet("weight = normal(0.01), bias = zeros")
    report = examine(small, digits, optimizer="sgd", lr=0.01)
    assert bad(report) == ["learning rate"]
    found = finding(report, "learning rate")
    assert "from 2.3 to 2.29 in 30 steps, and all images get nearly the same scores" in found.text
    assert found.help.startswith("the initial weights are too small: conv1.weight has a standard")
    assert "small; see `learning rate`" in finding(report, "scores").text
    assert examine(small, digits, optimizer="adam", lr=1e-3).ok


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_rate_too_low_to_learn_and_one_that_works(data, optimizer):
    net = netspec.loads(SOUND)
    report = examine(net, data, optimizer=optimizer, lr=1e-7)
    assert bad(report) == ["learning rate"]
    help = finding(report, "learning rate").help
    works = float(help.removeprefix("it is too low: ").removesuffix(" works here"))
    assert examine(net, data, optimizer=optimizer, lr=works).ok


def test_l2_that_is_most_of_the_loss(data):
    report = examine(netspec.loads(SOUND), data, l2=10.0)
    found = finding(report, "loss with L2")
    assert found.verdict == "bad"
    assert "L2 is 96% of it, and pulls the weights to 0" in found.help
    less = float(found.help.rpartition("l2 = ")[2].removesuffix(" would be less"))
    assert examine(netspec.loads(SOUND), data, l2=less).ok


def test_weights_that_are_all_zero_are_called_so(data):
    zero = SOUND.replace("input", "init weight = zeros, bias = zeros\n    input")
    report = examine(netspec.loads(zero), data)
    found = finding(report, "scores")
    assert found.text == "they are all 0, whatever the image"
    assert (
        found.help == "linear2.weight and 2 more are all zeros: draw the initial weights at random"
    )


@pytest.mark.parametrize("normalize", ["none", "unit", "channel", "mean-image"])
def test_three_layers_with_adam_are_well_under_every_normalisation(normalize):
    net = netspec.load(ROOT / "networks/threelayer.net", filters=8, hidden=50, size=16)
    data = netspec.load_data("digits", input_shape=(3, 16, 16))
    report = examine(net, data, optimizer="adam", lr=1e-3, l2=2e-3, batch=50, normalize=normalize)
    assert report.ok, str(report)


def test_all_is_not_well_where_something_is_unsure():
    report = DoctorReport("A", [Symptom("a", "ok", ""), Symptom("b", "unsure", "")])
    assert str(report).endswith("\n\nunsure: b")
    assert report.ok
    report.findings.append(Symptom("c", "bad", ""))
    assert str(report).endswith("\n\nbad: c; unsure: b")
    assert "\n\nall is well in what was checked" in str(DoctorReport("A", [Symptom("a", "ok", "")]))


MORE_SICK = {
    # The mean of a picture does not tell digits apart.
    "blind": ("image -> global_avg_pool -> linear(20) -> relu -> linear(classes)", {}, "small batch"),
    # Scores between 0 and 1 cannot give a confident softmax.
    "squashed": (
        "image -> flatten -> linear(30) -> relu -> linear(classes) -> sigmoid", {}, "small batch"
    ),
    # One layer's large weights drown the results of the others.
    "loud": (
        "image -> conv(4, 3) -> relu -> flatten -> linear(20) -> relu"
        " -> linear(classes, weight = normal(5.0))", {}, "initial loss",
    ),
    "drowned": (
        "image -> flatten -> linear(30, bias = constant(-30)) -> relu -> linear(classes)", {},
        "dead units",
    ),
    "hasty": (
        "image -> conv(4, 3) -> relu -> flatten -> linear(20) -> relu -> linear(classes)",
        {"optimizer": "nesterov", "lr": 10.0}, "learning rate",
    ),
}  # fmt: skip
MORE_HEALTHY = {
    "logistic": ("image -> flatten -> linear(classes)", {"optimizer": "sgd", "lr": 0.1}),
    "normed": (
        "image -> flatten -> linear(40) -> layer_norm -> gelu -> linear(classes)",
        {"optimizer": "adamw", "lr": 1e-3},
    ),
    "residual": (
        "image -> conv(8, 3, pad = 1) -> batch_norm -> relu -> conv(8, 3, pad = 1) -> batch_norm"
        " -> relu -> global_avg_pool -> linear(classes)",
        {"optimizer": "momentum", "lr": 0.1, "l2": 5e-4},
    ),
    "gated": (
        "image -> conv(6, 3) -> silu -> max_pool(2) -> flatten -> dropout(0.5) -> linear(classes)",
        {"optimizer": "rmsprop", "lr": 1e-3},
    ),
    "slow": (
        "image -> conv(4, 3) -> tanh -> avg_pool(2) -> flatten -> linear(classes)",
        {"optimizer": "momentum", "lr": 1e-3},
    ),
}  # fmt: skip


def chained(chain: str) -> netspec.Net:
    return netspec.loads(HEAD.format(f"    output {chain}\n"))


@pytest.mark.parametrize("name", MORE_SICK)
def test_more_sick_nets_are_judged_right(data, name):
    chain, options, check = MORE_SICK[name]
    report = examine(
        netspec.loads(HEAD.format(f"    output {chain}\n").replace("{{", "{")), data, **options
    )
    assert check in bad(report), str(report)
    assert finding(report, check).help


@pytest.mark.parametrize("name", MORE_HEALTHY)
def test_more_healthy_nets_are_judged_right(data, name):
    chain, options = MORE_HEALTHY[name]
    report = examine(
        netspec.loads(HEAD.format(f"    output {chain}\n").replace("{{", "{")), data, **options
    )
    assert report.ok, str(report)
    assert "\n\nall is well in what was checked" in str(report)


# --------------------------------------------------------------------- training at chance level


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize(("lr", "warned"), [("1e-9", True), ("0.1", False)])
def test_training_at_chance_level_names_doctor(run: Run, write, tmp_path, backend, lr, warned):
    if backend == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    finished = run(
        "train", backend, write(SOUND), "--epochs", 2, "--optimizer", "sgd", "--lr", lr,
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert finished.code == 0, finished.err
    told = f"`netspec doctor {tmp_path / 'run'}` looks for the cause"
    assert finished.err.count(told) == warned
    log = (tmp_path / "run/log.txt").read_text("utf-8")
    assert log.count("nothing is learnt yet") == warned


def test_the_command_in_the_warning_says_all_of_a_run_that_is_not_kept(
    run: Run, write, tmp_path
) -> None:
    net = write(SOUND, "odd name.net")
    finished = run(
        "train", "numpy", net, "--epochs", 2, "--optimizer", "sgd", "--lr", "1e-9",
        "--set", "classes=11", "--batch", 32, "--out", "none",
    )  # fmt: skip
    (command,) = re.findall(r"`(netspec doctor .*)` looks for the cause", finished.err)
    words = shlex.split(command)[1:]
    assert words == [
        "doctor", str(net), "--set", "classes=11", "--optimizer", "sgd", "--lr", "1e-09",
        "--batch", "32",
    ]  # fmt: skip
    examined = run(*words)
    assert "trained with sgd at learning rate 1e-09" in examined.out


def test_a_run_knows_where_its_data_are(run: Run, write, tmp_path, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    images = rng.integers(0, 256, (60, 1, 8, 8), np.uint8)
    labels = rng.integers(0, 10, 60)
    np.savez("own.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    net = write(SOUND)
    trained = run("train", "numpy", net, "--data", "own.npz", "--epochs", 1, "--out", "run")
    assert trained.code == 0, trained.err
    monkeypatch.chdir(tmp_path)
    again = run("train", "numpy", "there/run", "--out", "again")
    assert again.code == 0, again.err
    assert "of own (channel)" in run("doctor", "there/run").out
    # The folder of a data set that has a name is known likewise.
    facts = json.loads((tmp_path / "there/run/run.json").read_text())
    facts["options"] |= {"data": "mnist", "data-dir": "elsewhere"}
    (tmp_path / "there/run/run.json").write_text(json.dumps(facts))
    (tmp_path / "there/elsewhere").mkdir()
    seen = []
    monkeypatch.setattr(
        "netspec.runtime.data.catalog.load_idx",
        lambda name, folder: seen.append((name, folder)) or netspec.load_data("digits"),
    )
    run("train", "numpy", "there/run", "--out", "third")
    run("doctor", "there/run")
    assert seen == [("mnist", tmp_path / "there/elsewhere")] * 2


# ------------------------------------------------------------------------------------- its measures


def test_dead_units_are_counted_by_channel_and_the_model_is_left_alone(data):
    text = HEAD.format(
        "    output image -> conv(4, 3) -> batch_norm -> relu -> flatten -> linear(classes)\n"
    )
    model = netspec.loads(text).compile()
    model.parameters["batch_norm1.bias"][:] = [-1e3, 0, 0, 0]
    before = {name: a.copy() for name, a in model.parameters.items()}
    images = {"image": data.x_train[:16].astype(np.float32)}
    assert dead_units(model, images) == {"relu1": 0.25}
    assert all((a == before[name]).all() for name, a in model.parameters.items())


def test_gradients_are_measured_in_relation_to_their_weights(data):
    model = netspec.loads(SOUND).compile()
    model.parameters["linear2.weight"][:] = 0
    x, y = data.x_train[:8] / np.float32(255), data.y_train[:8]
    found = {g.name: g for g in gradients(model, {"image": x}, y, make_loss("softmax"))}
    assert list(found) == ["conv1.weight", "linear1.weight", "linear2.weight"]
    assert found["linear2.weight"].relative is None
    assert found["linear1.weight"].size == 0  # nothing comes through weights of zero
    _, grads = model.loss_and_grads(x, y)
    assert found["linear2.weight"].size == pytest.approx(
        np.sqrt((grads["linear2.weight"] ** 2).mean()), rel=1e-5
    )


def test_a_wrong_gradient_is_found(data, monkeypatch):
    from netspec.tools.gradcheck import analytic

    right = analytic._step

    def wrong(*arguments):
        loss, p, g, b = right(*arguments)
        g["linear1.weight"] *= 1.01
        return loss, p, g, b

    monkeypatch.setattr(analytic, "_step", wrong)
    report = examine(netspec.loads(SOUND), data)
    assert bad(report) == ["gradient check"]
    assert "netspec gradcheck" in finding(report, "gradient check").help


# --------------------------------------------------------------------------------- picture, wrong use


def test_a_picture_of_it(run: Run, write, tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("a.png", "a.svg"):
        finished = run("doctor", write(SOUND), "--plot", tmp_path / name)
        assert finished.code == 0, finished.err
        assert (tmp_path / name).stat().st_size > 5000


def test_verdicts_have_a_color(run: Run, write):
    sick = write(HEAD.format(BODY.format(" -> relu")))
    colored = run("doctor", sick, "--color", "always").out
    assert "\x1b[31mBAD\x1b[0m     scores" in colored
    assert "\x1b[32mok\x1b[0m      initial loss" in colored
    options = ("--directions", 1, "--backend", "numpy")
    report = run("gradcheck", sick, *options, "--color", "always").out
    assert report.count("\x1b[32mok\x1b[0m\n") >= 6
    assert "\x1b" not in run("gradcheck", sick, *options).out
    assert "\x1b" not in run("doctor", sick, "--format", "json", "--color", "always").out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_live_line_on_a_terminal_alone(monkeypatch):
    plain, terminal = io.StringIO(), Terminal()
    for stream in (plain, terminal):
        monkeypatch.setattr("sys.stderr", stream)
        with LiveLine() as live:
            live.show("float64, training")
    assert plain.getvalue() == ""
    assert terminal.getvalue() == "\r\x1b[Kfloat64, training\r\x1b[K"


def test_what_takes_long_is_told_without_a_terminal_too(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    for seconds in (1e9, 0.0):
        with LiveLine(quiet_for=seconds) as live:
            live.show(f"after {seconds:.0f} s")
    assert stream.getvalue() == "after 0 s ...\n"


def test_what_is_checked_is_told_before_it_is(data):
    net = netspec.loads(SOUND)
    told: list[str] = []
    examine(net, data, advance=told.append)
    assert told == CHECKS
    told.clear()
    netspec.gradcheck(net, directions=1, backend="numpy", params="linear2.*", advance=told.append)
    mode = "training and evaluation"
    assert told == [mode, f"{mode}: linear2.weight", f"{mode}: linear2.bias"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--plot", "a.gif"], "ends in .png or .svg"),
        (["--lr", "0"], "learning rate must be more than 0"),
        (["--l2", "-1"], "l2"),
        (["--data", "digit"], "did you mean `digits`?"),
    ],
)
def test_wrong_use(run: Run, write, options, said):
    finished = run("doctor", write(SOUND), *options)
    assert finished.code == 2
    assert said in finished.err


GATED = """
net Gated {{
    input image: [1, 6, 6]
    parameter gamma: [1, 4, 1, 1] = {start}
    x = image -> conv(4, 3, pad = 1) -> relu
    y = x + gamma * (x -> branch: conv(4, 3, pad = 1))
    output y -> relu -> global_avg_pool -> linear(10)
}}
"""


def gradients_of(text):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 1, 6, 6)), np.arange(20) % 10
    patient = Patient(
        graph=netspec.loads(text).graph, x={"image": x}, y=y, loss=make_loss("softmax"), l2=0.0,
        optimizer="sgd", options={}, lr=0.1, warms_up=False, clip_norm=None, batch=10, seed=0,
    )  # fmt: skip
    return gradient_sizes(patient, Pictured())


@pytest.mark.parametrize(("start", "is_said"), [("zeros", True), ("ones", False)])
def test_a_gate_that_starts_at_zero_lets_gradients_through_later(start, is_said):
    found = gradients_of(GATED.format(start=start))
    assert found.verdict == "ok"
    assert ("once gamma left the zeros" in found.text) == is_said


def test_what_no_gate_opens_gets_no_gradient():
    found = gradients_of(GATED.format(start="zeros").replace("gamma * (", "0 * gamma * ("))
    assert found.verdict == "bad"
    assert "none reaches branch.weight" in found.text
