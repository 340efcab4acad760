"""Recipes: what they may contain, where their mistakes are located, and which setting wins."""

from __future__ import annotations

import argparse
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.cli import training_options
from netspec.diagnostics import NetspecError, Source, render
from netspec.runtime.optim.optimizers import OPTIMIZERS
from netspec.runtime.runs.option_types import problem
from netspec.runtime.runs.options import OPTIONS, keywords
from netspec.runtime.runs.recipe import check_recipe, read_recipe, recipe_text
from netspec.runtime.runs.recipe_place import recipe_of
from netspec.runtime.runs.resolve import resolve
from netspec.runtime.runs.toml_spans import find_places
from tests.conftest import ROOT, Run, Write

RECIPES = sorted((ROOT / "networks").rglob("*.toml"))


def check(text: str):
    return check_recipe(Source("my.toml", text))


def resolved(text: str = "", **given):
    return resolve({name.replace("_", "-"): v for name, v in given.items()}, check(text))


def errors(text: str) -> list[tuple[str, str, str]]:
    """Return the code, the place and the underlined text of every error."""
    try:
        resolve({}, check(text))
    except NetspecError as error:
        found = []
        for d in error.diagnostics:
            assert d.span is not None
            assert render(d)
            found.append((d.code, d.span.where.removeprefix("my.toml:"), d.span.text))
        return found
    return []


# ------------------------------------------------------------------------------------------ sound ones


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_the_recipes_that_come_with_netspec_are_sound(path) -> None:
    assert recipe_of(path.with_suffix(".net")) == path
    recipe = read_recipe(path)
    first = resolve({}, recipe)
    again = check(recipe_text(first.values, recipe.arguments, "about it\nin two lines"))
    assert resolve({}, again).values == first.values
    assert again.arguments == recipe.arguments


def test_all_three_are_there() -> None:
    assert {path.stem for path in RECIPES} >= {"lenet", "threelayer", "resnet"}


def test_everything_a_recipe_may_say_survives_being_written() -> None:
    values = {
        "data": 'a "b" \\ c\n.npz', "augment": ["crop", "flip"], "freeze": ["a.*"], "l2": 1e-05,
        "lr": 0.1, "epochs": 3, "milestones": [1, 2], "schedule": "multi-step", "resize": True,
    }  # fmt: skip
    arguments = {"hidden": (3, 4), "name": "x", "norm": True, "drop": 0.5}
    again = check(recipe_text(values, arguments))
    assert dict(again.values) == values
    assert dict(again.arguments) == arguments


@pytest.mark.parametrize("text", ["rates = {}", "[rates]", "[rates]\n'a.*' = 2", "[set]", ""])
def test_tables_survive_being_written(text: str) -> None:
    first = resolve({}, check(text))
    again = check(recipe_text(first.values, {}))
    assert resolve({}, again).values == first.values


# --------------------------------------------------------------------------------------- located errors

BAD = {
    "epoch = 3": [("recipe/key", "1:1", "epoch")],
    "# hi\n  train_limit = 3": [("recipe/key", "2:3", "train_limit")],
    "device = 'cpu'": [("recipe/key", "1:1", "device")],
    'batch = "64"': [("recipe/value", "1:9", '"64"')],
    "batch = 0": [("recipe/value", "1:9", "0")],
    "batch = true": [("recipe/value", "1:9", "true")],
    "l2 = -1e-3  # why": [("recipe/value", "1:6", "-1e-3")],
    "l2 = nan": [("recipe/value", "1:6", "nan")],
    "lr = 0": [("recipe/value", "1:6", "0")],
    "clip-norm = -1": [("recipe/value", "1:13", "-1")],
    'optimizer = "adm"': [("recipe/value", "1:13", '"adm"')],
    'augment = [\n "flip", # one\n "crob"]': [("recipe/value", "3:2", '"crob"')],
    'augment = "crop"': [("recipe/value", "1:11", '"crop"')],
    'optimizer = "sgd"\nmomentum = 0.5': [("recipe/value", "2:12", "0.5")],
    "beta1 = 1.5\nbeta2 = 0.5\neps = -1": [
        ("recipe/value", "1:9", "1.5"), ("recipe/value", "3:7", "-1"),
    ],
    "gamma = 0.5": [("recipe/value", "1:9", "0.5")],
    'loss = "svm"\nlabel-smoothing = 0.1': [("recipe/value", "2:19", "0.1")],
    "label-smoothing = 3": [("recipe/value", "1:19", "3")],
    "set = 3": [("recipe/value", "1:7", "3")],
    "[set]\nwhen = 1979-05-27": [("recipe/value", "2:8", "1979-05-27")],
    "set.a.b = 1": [("recipe/value", "1:1", "set.a")],
    "[training]\nepochs = 3": [("recipe/key", "1:2", "training")],
    "[[epochs]]": [("recipe/value", "1:3", "epochs")],
    '"a\\tb" = 1': [("recipe/key", "1:1", '"a\\tb"')],
    "epochs 3": [("recipe/syntax", "1:8", "3")],
    "epochs = 3\nepochs = 4": [("recipe/syntax", "2:11", "")],
    "epochs = [": [("recipe/syntax", "1:11", "")],
}  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_a_mistake_is_shown_where_it_stands(text) -> None:
    assert errors(text) == BAD[text]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("epoch = 3", "`epochs`"),
        ("train_limit = 3", "`train-limit`"),
        ('optimizer = "adm"', "`adam`"),
        ('data = "digits"\nnormalize = "chanel"', "`channel`"),
        ("device = 'cpu'", "--device"),
    ],
)
def test_what_was_probably_meant_is_said(text, meant) -> None:
    with pytest.raises(NetspecError, match=meant):
        check(text)


def test_every_mistake_is_reported_at_once() -> None:
    assert len(errors("epoch = 3\nbatch = 0\nlr = 0\n")) == 3


def test_places_are_found_whatever_toml_allows() -> None:
    text = (
        '# a comment with = and ["\n'
        'plain = 1 # [\n'
        '"quoted key" . b = """x = 1 # no\n"quotes"" in it"""\n'
        "list = [ 1, [2, 3], # ]\n {a = 'x', b.c = [4]}, ]\n"
        "[t.\"u v\"]\nwhen = 1979-05-27 07:32:00 # at\n"
        "[[many]]\nk = '''\n]'''\n[[many]]\nk = -inf\n"
    )  # fmt: skip
    tomllib.loads(text)
    places = find_places(Source("x.toml", text))
    values = {path: span.text for path, span in places.values.items()}
    assert values["plain",] == "1"
    assert values["quoted key", "b"] == '"""x = 1 # no\n"quotes"" in it"""'
    assert values["list", 1, 1] == "3"
    assert values["list", 2, "b", "c", 0] == "4"
    assert values["t", "u v", "when"] == "1979-05-27 07:32:00"
    assert values["many", "k"] == "-inf"


TEXTS = [path.read_text("utf-8") for path in RECIPES] + list(BAD)


@settings(max_examples=150)
@given(st.data())
def test_any_text_is_a_recipe_or_an_ordinary_error(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 9)))
        piece = data.draw(
            st.one_of(st.text(max_size=5), st.sampled_from(["[", '"', "'''", "\n", "="]))
        )
        text = text[:start] + piece + text[end:]
    errors(text)


def test_a_deep_recipe_is_an_ordinary_error() -> None:
    assert errors("set = " + "[" * 50_000)[0][0] == "recipe/syntax"


# ---------------------------------------------------------------------------------------- who decides


def test_the_command_line_then_the_recipe_then_the_defaults() -> None:
    settings = resolved("epochs = 7\nbatch = 8", epochs=3)
    assert (settings["epochs"], settings["batch"], settings["seed"]) == (3, 8, 0)


def test_what_belongs_to_a_choice_falls_with_it() -> None:
    text = 'optimizer = "nesterov"\nlr = 0.1\nmomentum = 0.8\ndata = "cifar10"\nval = 5000\nkeep = "best"'
    assert resolved(text).keywords("optimizer") == {"momentum": 0.8}
    settings = resolved(text, optimizer="adam", data="digits", val=5)
    assert settings.left_out == ("lr", "momentum", "keep")
    assert settings["lr"] == OPTIMIZERS["adam"].default_lr  # what adam takes by itself
    assert settings["val"] == 5
    assert settings.keywords("optimizer") == {
        "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False,
    }  # fmt: skip
    assert resolved(text, optimizer="nesterov").left_out == ()


def test_an_option_of_the_command_line_that_does_not_fit_is_its_own_mistake() -> None:
    with pytest.raises(NetspecError, match=r"\[train/bad-option\].*momentum"):
        resolved("", optimizer="adam", momentum=0.5)
    with pytest.raises(NetspecError, match=r"\[train/bad-option\].*learning rate"):
        resolved("lr = 1", lr=0.0)


# ------------------------------------------------------------------------------------------ one table


def test_every_option_of_the_table_is_one_of_the_command_line() -> None:
    parser = argparse.ArgumentParser()
    training_options.configure(parser)
    flags = {flag for action in parser._actions for flag in action.option_strings}
    others = {"-h", "--help", "--net", "--set", "--color", "--recipe", "--no-recipe", "--resume"}
    others |= {"--force", "--ops", "--find-lr", "--restartable"}
    assert flags == {f"--{name}" for name in OPTIONS} | others
    parsed = parser.parse_args(["numpy", "a.net", "--augment", "crop,flip", "--lr", "1e-3"])
    assert training_options.given(parsed) == {"augment": ["crop", "flip"], "lr": 1e-3}


def test_keyword_options_are_those_of_the_library() -> None:
    import inspect

    from netspec.runtime.optim.losses import LOSSES
    from netspec.runtime.optim.lr_schedules import SCHEDULES

    for choice, table in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("loss", LOSSES)):
        known = {
            p.name
            for factory in table.values()
            for p in inspect.signature(factory).parameters.values()
            if p.kind is p.KEYWORD_ONLY
        }
        assert {option.key for option in keywords(choice)} == known


# ---------------------------------------------------------------------------------------- command line

NET = """
net A(classes = 10, width = 4) {
    input image: [1, 8, 8]
    output image -> flatten -> linear(width) -> linear(classes)
}
"""


@pytest.fixture
def net(write: Write):
    write("train-limit = 64\nepochs = 2\nbatch = 32\n[set]\nwidth = 6\n", "a.toml")
    return write(NET, "a.net")


def test_the_recipe_beside_a_net_is_taken_and_said(run: Run, net, tmp_path) -> None:
    out = tmp_path / "run"
    finished = run("train", "numpy", net, "--epochs", 1, "--out", out)
    assert finished.code == 0, finished.err
    assert f"recipe {net.with_suffix('.toml')}, except for --epochs" in finished.err
    same = run("train", "numpy", net, "--epochs", 2, "--out", tmp_path / "same")
    assert f"recipe {net.with_suffix('.toml')}\n" in same.err, "the recipe says 2, too"
    assert len([line for line in finished.err.splitlines() if line.startswith("epoch")]) == 1
    kept = read_recipe(out / "recipe.toml")
    assert kept.values["beta2"] == 0.999, "what was taken, not that nothing was said"
    assert kept.values["minimum"] == 0.0
    assert "momentum" not in kept.values
    assert kept.values["train-limit"] == 64
    assert kept.values["epochs"] == 1
    assert kept.arguments == {"width": 6}
    # The recipe of a run gives the same run again.
    again = run("train", "numpy", net, "--recipe", out / "recipe.toml", "--out", tmp_path / "again")
    assert again.code == 0
    assert again.out == finished.out


def test_a_warm_up_as_long_as_the_run_is_pointed_out(run: Run, net) -> None:
    options = ["train", "numpy", net, "--train-limit", 64, "--epochs", 1, "--out", "none"]
    said = "warning: the warm-up takes 2 epochs, and the run has only 1"
    assert said in run(*options, "--warmup", 2).err
    assert "warning" not in run(*options, "--warmup", 0).err


def test_a_recipe_can_be_left_out_and_named(run: Run, net, write: Write) -> None:
    options = ["--train-limit", 64, "--epochs", 1, "--out", "none"]
    plain = run("train", "numpy", net, "--no-recipe", *options)
    assert plain.code == 0
    assert "recipe" not in plain.err
    other = write("[set]\nwidth = 3\n", "other.toml")
    assert f"recipe {other}" in run("train", "numpy", net, "--recipe", other, *options).err
    assert run("train", "numpy", net, "--recipe", other, "--no-recipe").code == 2


def test_a_recipe_that_is_wrong_ends_it(run: Run, net, write: Write) -> None:
    write("[set]\nwidht = 3\n", "a.toml")
    finished = run("train", "numpy", net)
    assert finished.code == 1
    assert "error[recipe/key]" in finished.err
    assert "a.toml:2:1" in finished.err
    assert "did you mean `width`?" in finished.err
    write("epochs = 3.5\n", "a.toml")
    assert "a.toml:1:10" in run("train", "numpy", net).err
    assert run("train", "numpy", net, "--recipe", "nowhere.toml").code == 1


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("epochs", 3, True), ("epochs", 3.0, False), ("epochs", True, False), ("epochs", 0, False),
        ("seed", 1 << 40, True), ("lr", 1, True), ("lr", 10**400, False), ("lr", float("nan"), False),
        ("optimizer", "adam", True), ("optimizer", "adm", False), ("resize", True, True),
        ("resize", 1, False), ("data", "", False), ("milestones", [1, 2], True),
        ("milestones", [1, 2.0], False), ("milestones", 3, False), ("augment", ["flop"], False),
    ],
)  # fmt: skip
def test_values_of_options_are_of_their_kind(name: str, value: object, right: bool) -> None:
    """Options have the kinds of the language's attributes, except that 3.0 is not a whole number in
    a recipe.
    """
    wrong = problem(OPTIONS[name].kind, value)
    assert (wrong is None) == right
    if wrong is not None:
        assert wrong[0].startswith("not ")


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ('batch = "32"', "32"), ('lr = "1e-3"', "1e-3"), ('normalize = "unit"', None),
        ('batch = "many"', None), ('epochs = "0x10"', None), ('resize = "True"', "true"),
    ],
)  # fmt: skip
def test_a_value_in_quotes_is_told_without_them(line: str, plain: str | None) -> None:
    try:
        resolve({}, check(line))
    except NetspecError as error:
        hints = [hint.text for d in error.diagnostics for hint in d.hints]
        told = [hint for hint in hints if "quotes" in hint]
        assert told == ([] if plain is None else [f"without the quotes: {plain}"])
    else:
        assert plain is None
