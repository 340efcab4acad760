"""Weights as other programs store them: nested, prefixed, in shards, in half precision."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import netspec
from netspec.runtime.training.transfer import start_from
from netspec.runtime.weights import bounded_matching
from netspec.runtime.weights.rename_rules import rename_rule, renamed_tensors
from netspec.runtime.weights.tensor_names import match_names
from netspec.runtime.weights.weights_file import load_weights
from tests.conftest import Run
from tests.helpers.errors import fails

NET = """\
net Small(classes = 3) {
    input image: [1, 4, 4]

    output image -> stem: conv(2, 3) -> batch_norm -> relu -> flatten -> head: linear(classes)
}
"""
State = dict[str, NDArray[Any]]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """Return the state of the net in `t.net` as another program has it: exact also in half
    precision.
    """
    monkeypatch.chdir(tmp_path)
    Path("t.net").write_text(NET, "utf-8")
    drawn = netspec.load("t.net").compile(seed=3).state_dict()
    return {
        name: array.astype(np.float16).astype(array.dtype) if array.dtype.kind == "f" else array
        for name, array in drawn.items()
    }


def loads(path: str | Path, state: State) -> None:
    """Check that a file's tensors load strictly, and have these values."""
    model = netspec.load("t.net").compile()
    model.load_state_dict(load_weights(path).tensors)
    found = model.state_dict()
    assert all(np.allclose(found[name], array, atol=1e-2) for name, array in state.items())


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: array for name, array in state.items()}


# ------------------------------------------------------------------------------------------- names

PREFIXES: dict[str, Callable[[str], str]] = {
    "DataParallel": lambda name: f"module.{name}",
    "torch.compile": lambda name: f"_orig_mod.{name}",
    "both": lambda name: f"module._orig_mod.{name}",
    "a compiled part": lambda name: name.replace("stem.", "stem._orig_mod."),
    "model": lambda name: f"model.{name}",
    "deep": lambda name: f"model.net.backbone.{name}",
    "older and prefixed": lambda name: "module." + name.replace("batch_norm1", "batch_norm.1"),
}


@pytest.mark.parametrize("kind", PREFIXES)
def test_names_with_prefixes_are_the_networks(state: State, kind: str) -> None:
    theirs = {PREFIXES[kind](name): array for name, array in state.items()}
    assert set(theirs) != set(state)
    netspec.save_weights("w.safetensors", theirs)
    loads("w.safetensors", state)
    report = start_from(netspec.load("t.net").compile(), theirs)
    assert len(report.loaded) == len(state)
    assert report.notes


def test_a_prefix_beside_other_tensors_is_found(state: State) -> None:
    theirs = {**prefixed(state, "net."), "loss.weight": np.ones(3), "step": np.array(7)}
    report = start_from(netspec.load("t.net").compile(), theirs)
    assert len(report.loaded) == len(state)
    assert report.unexpected == ["loss.weight", "step"]
    assert report.notes == (f"`net.` taken off {len(state)} names",)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["student.a.w", "teacher.a.w"], {"a.w"}),  # either
        (["a.w", "b.w", "x.c.w"], {"a.w", "b.w", "c.w"}),  # most fit as they are
        (["x.a.w", "a.w"], {"a.w"}),  # it is there
        (["x." * 9 + "a"], {"a"}),  # deeper than any module
        ([("a." * 300_000) + "w", "b." * 300_000 + "1.w"], {"a.w"}),  # in no time
        ([], {"a"}),
        (["a"], set()),
    ],
)
def test_no_prefix_is_guessed(names: list[str], expected: set[str]) -> None:
    assert match_names(names, expected).names == {}


def test_rules_rename_what_nothing_else_finds(state: State) -> None:
    theirs = {
        (f"encoder.{n}" if n.startswith("stem") else f"top.{n}"): array
        for n, array in state.items()
    }
    rules = [rename_rule(r"encoder\.(.*)=\1"), rename_rule(r"(?:top|other)\.(.*)=\1")]
    found, notes = renamed_tensors(theirs, rules)
    assert set(found) == set(state)
    assert len(notes) == 2
    found, _ = renamed_tensors({"ab": np.zeros(1)}, [rename_rule(r"(?P<n>a)(?=b)b=\g<n>c")])
    assert set(found) == {"ac"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("(a+)+=x", "a" * 28 + "!"),  # 2^28 ways
        ("((|){3000}){3000}=x", "a"),
        ("(.*)=" + r"\1" * 5_000, "a" * 200_000),  # 1 GB
    ],
)
def test_rules_that_take_too_long_are_ended(
    text: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_matching, "SECONDS", 0.3)
    with fails("train/bad-option", "--rename", "takes too long for 1 name"):
        renamed_tensors({name: np.zeros(1)}, [rename_rule(text)])


@pytest.mark.parametrize("text", ["", "a", "=b", "(=a", "a=\\1", "(a)=\\2", "a=\\g<x>", "[=a"])
def test_a_rule_that_is_none_is_told(text: str) -> None:
    with fails("train/bad-option", "--rename"):
        rename_rule(text)


def test_rules_that_meet_or_match_nothing_are_told(state: State) -> None:
    with fails("weights/mismatch", "two tensors the name `x`"):
        renamed_tensors(state, [rename_rule(".*=x")])
    with fails("train/bad-option", "matches no name"):
        renamed_tensors(state, [rename_rule("stem=x")])


def test_a_rule_that_matches_nothing_says_in_which_file(tmp_path: Path, run: Run) -> None:
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    for path in (one, two):
        netspec.save_weights(path, {"a": np.zeros(1)})
    finished = run("weights", one, two, "--rename", "b=c")
    assert f"matches no name in {two}" in finished.err


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"stem": "conv1"}, r"--rename 'conv1\.(.*)=stem.\1'"),
        ({"stem": "a b.c"}, r"--rename 'a\ b\.c\.(.*)=stem.\1'"),
        ({"one": "x", "two": "y"}, "--rename PATTERN=NAME"),  # which is which is not certain
        ({"stem": "\x1b[31m"}, "--rename PATTERN=NAME"),
    ],
)
def test_weights_under_other_names_are_told_how_to_rename_them(
    names: dict[str, str], said: str
) -> None:
    net = netspec.loads(
        "net A { input x: [2, 8, 8]\n"
        " y = x -> stem: conv(3, 3) -> one: conv(3, 3) -> two: conv(3, 3)\n output y }"
    )
    state = net.compile().state_dict()
    given = {
        ".".join([names.get(name.split(".")[0], name.split(".")[0]), name.split(".")[1]]): array
        for name, array in state.items()
    }
    with pytest.raises(netspec.NetspecError) as caught:
        net.compile().load_state_dict(given)
    (found,) = caught.value.diagnostics
    assert found.hints[0].text.endswith(said)
    if "PATTERN" not in said:
        rule = rename_rule(said.removeprefix("--rename '").removesuffix("'"))
        assert set(renamed_tensors(given, [rule])[0]) == set(state)
    del given[next(iter(given))]
    with pytest.raises(netspec.NetspecError) as caught:
        net.compile().load_state_dict(given)
    assert "--rename" not in caught.value.diagnostics[0].hints[0].text


# ------------------------------------------------------------------------------------------- files


def bfloat16_bytes(array: NDArray[Any]) -> bytes:
    return (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()


def safetensors_of(state: State, dtype: str) -> bytes:
    """Return a file with all floating-point numbers stored as this type."""
    header: dict[str, object] = {}
    data = b""
    for name, array in state.items():
        kind, content = ("I64", array.tobytes())
        if array.dtype.kind == "f":
            kind = dtype
            content = bfloat16_bytes(array) if dtype == "BF16" else array.astype("<f2").tobytes()
        place = [len(data), len(data) + len(content)]
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": place}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("length", [*range(0x60, 0x90), 0x504B, 0x4B50])
def test_the_length_of_a_header_is_not_taken_for_another_format(state: State, length: int) -> None:
    """The first byte of the header's length may be that of a pickle, of an archive or of JSON."""
    text = json.dumps({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    Path("w").write_bytes(struct.pack("<Q", length) + text.ljust(length) + b"\x05")
    assert load_weights("w").tensors["a"].tolist() == [5]


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_half_precision_in_safetensors(state: State, dtype: str) -> None:
    Path("half.bin").write_bytes(safetensors_of(state, dtype))
    loads("half.bin", state)
    found = load_weights("half.bin").tensors["head.weight"]
    assert found.dtype == (np.float16 if dtype == "F16" else np.float32)


def in_shards(state: State, folder: Path) -> Path:
    folder.mkdir()
    names = sorted(state)
    places = {}
    for i, part in enumerate((names[:3], names[3:])):
        shard = f"model-0000{i}-of-00002.safetensors"
        netspec.save_weights(folder / shard, {name: state[name] for name in part})
        places |= dict.fromkeys(part, shard)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}), "utf-8")
    return index


def test_shards_are_one_file(state: State) -> None:
    index = in_shards(state, Path("model"))
    loads(index, state)
    loads("model", state)
    assert load_weights("model").notes == ("from 2 shards",)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{}", "no `weight_map`"),
        ("{", "no `weight_map`"),
        ("[]", "is neither safetensors nor a checkpoint of PyTorch nor .npz"),
        ("", "is empty"),
        ("{" * 100_000, "no `weight_map`"),
        ('{"weight_map": []}', "says of no tensor"),
        ('{"weight_map": {"a": 3}}', "`a` is not in a file beside it"),
        ('{"weight_map": {"a": "../secret.safetensors"}}', "`a` is not in a file beside it"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "`a` is not in a file beside it"),
        ('{"weight_map": {"a": "none.safetensors"}}', "no such file, though the index names it"),
        ('{"weight_map": {"a": "index.json"}}', ""),
        ('{"weight_map": {"a": "."}}', ""),
        ('{"weight_map": {"a": "held.safetensors"}}', "has no `a`, which the index says"),
        ('{"weight_map": {"a": "pipe"}}', "pipe"),
    ],
)
def test_bad_indexes_are_told(state: State, content: str, part: str) -> None:
    import os

    netspec.save_weights("held.safetensors", {"b": np.zeros(2)})
    os.mkfifo("pipe")
    Path("index.json").write_text(content, "utf-8")
    with fails("weights/bad-file", part):
        load_weights("index.json")


def test_archives_of_numpy_hold_weights_too(state: State) -> None:
    np.savez("w.npz", **state)
    loads("w.npz", state)
    Path("w.npz").rename("w.pth")  # the content decides
    loads("w.pth", state)
    np.savez("odd.npz", a=np.array([{}], dtype=object))
    with fails("weights/bad-file", "odd.npz: a.npy"):
        load_weights("odd.npz")


def test_a_folder_of_something_else_is_told(state: State) -> None:
    Path("empty").mkdir()
    with fails("weights/bad-file", "is a folder without weights"):
        load_weights("empty")


NESTS: dict[str, Callable[[Any], Any]] = {
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {}}},
    "model_state_dict": lambda state: {"epoch": 3, "model_state_dict": state},
    "an average beside it": lambda state: {"ema": {}, "model": state},
    "the average alone": lambda state: {"ema": {"module": state}, "optimizer": {}},
    "a name of one's own": lambda state: {"epoch": 3, "net": state, "classes": ["a"]},
    # As the script of PyTorch's ImageNet example writes them: what is measured is a tensor, too.
    "with other tensors": lambda t: {
        "epoch": 9,
        "state_dict": t,
        "best_acc1": next(iter(t.values())),
    },
}


@pytest.mark.parametrize("nest", NESTS)
@pytest.mark.parametrize("old", [False, True])
def test_checkpoints_of_training_scripts(state: State, nest: str, old: bool) -> None:
    torch = pytest.importorskip("torch")
    tensors = {f"module.{name}": torch.from_numpy(array) for name, array in state.items()}
    torch.save(NESTS[nest](tensors), "last.ckpt", _use_new_zipfile_serialization=not old)
    loads("last.ckpt", state)
    assert any("taken from" in note for note in load_weights("last.ckpt").notes)


def test_a_checkpoint_of_several_models_is_told_by_its_keys(state: State) -> None:
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    torch.save({"epoch": 3, "teacher": tensors, "student": tensors}, "two.pth")
    count = rf"\({len(tensors)} tensors\)"
    with fails("weights/bad-file", f"`teacher` {count}, `student` {count}, `epoch`", "save one"):
        load_weights("two.pth")
    torch.save({"epoch": 3, "optimizer": {"state": {0: {}}}}, "none.pth")
    with fails("weights/bad-file", "its keys are `epoch`, `optimizer`$"):
        load_weights("none.pth")


# ------------------------------------------------------------------------------------ command line


def test_the_command_line_says_what_was_done(run: Run, state: State) -> None:
    netspec.save_weights("w.safetensors", prefixed(state, "model."))
    data = ("--data", "digits")
    Path("d.net").write_text(NET.replace("4, 4", "8, 8").replace("= 3", "= 10"), "utf-8")
    model = netspec.load("d.net").compile(seed=1)
    theirs = {f"enc.{name}".replace("enc.head", "top"): a for name, a in model.state_dict().items()}
    netspec.save_weights("d.safetensors", theirs)
    rename = ("--rename", r"enc\.(.*)=\1", "--rename", r"top\.(.*)=head.\1")
    weights = ("--weights", "d.safetensors", "--normalize", "unit")
    assert "weights/mismatch" in run("eval", "d.net", *weights, *data).err
    found = run("eval", "d.net", *weights, *data, *rename)
    assert found.code == 0, found.err
    assert r"names by --rename enc\.(.*)=\1" in found.err
    trained = run("train", "d.net", *data, "--train-limit", 64, "--epochs", 1, "--out", "a",
                  "--weights", "d.safetensors", *rename)  # fmt: skip
    assert trained.code == 0, trained.err
    assert "9 of 9 tensors loaded" in trained.err
    assert "--rename" in trained.err
    again = run("train", "--resume", "a", "--epochs", 2)
    assert again.code == 0, again.err


def test_weights_lists_tensors(run: Run, state: State) -> None:
    state["head.bias"][0] = np.nan
    netspec.save_weights("w.safetensors", state)
    found = run("weights", "w.safetensors")
    assert (found.code, found.err) == (0, "")
    assert "head.weight" in found.out
    assert "not finite" in found.out
    rows = json.loads(run("weights", "w.safetensors", "--format", "json").out)
    by_name = {row["name"]: row for row in rows["tensors"]}
    weight = state["head.weight"].astype(float)
    assert by_name["head.weight"]["mean"] == pytest.approx(weight.mean())
    assert by_name["head.weight"]["std"] == pytest.approx(weight.std())
    assert by_name["head.weight"]["shape"] == [3, 8]
    assert by_name["head.bias"]["not_finite"] == 1
    assert rows["numbers"] == sum(array.size for array in state.values())


def test_weights_compares_two_files(run: Run, state: State) -> None:
    netspec.save_weights("a.safetensors", state)
    netspec.save_weights("b.safetensors", prefixed(state, "module."))
    same = run("weights", "a.safetensors", "b.safetensors")
    assert same.code == 0
    assert same.out.strip() == f"{len(state)} of {len(state)} tensors are equal"
    assert "`module.` taken off" in same.err
    other = {name: array.copy() for name, array in state.items()}
    other["head.weight"][0, 0] += 0.5
    other["head.bias"] = np.zeros(4, np.float32)
    other["new"] = other.pop("stem.bias")
    netspec.save_weights("c.safetensors", other)
    found = run("weights", "a.safetensors", "c.safetensors", "--format", "json")
    assert found.code == 1
    rows = {row["name"]: row for row in json.loads(found.out)["tensors"]}
    assert rows["head.weight"]["largest_difference"] == pytest.approx(0.5)
    verdicts = {name: row["verdict"] for name, row in rows.items() if row["verdict"] != "equal"}
    assert verdicts == {
        "head.weight": "differs", "head.bias": "shape", "stem.bias": "first", "new": "second",
    }  # fmt: skip
    text = run("weights", "a.safetensors", "c.safetensors").out
    assert "only in the first file, [2]" in text
    assert "shape [3] and [4]" in text
    assert re.search(r"6 of 10 tensors are equal: batch_norm1\.\*, stem\.weight", text), text


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict", "largest"),
    [
        ([1.0, np.nan], [1.0, np.nan], "equal", 0.0),
        ([np.inf, 1.0], [np.inf, 2.0], "differs", 1.0),
        ([np.nan, 1.0], [0.0, 1.0], "differs", np.inf),
        ([np.inf], [-np.inf], "differs", np.inf),
        ([1e308], [-1e308], "differs", np.inf),
        ([], [], "equal", 0.0),
    ],
)
def test_odd_numbers_are_compared(ours: Any, theirs: Any, verdict: str, largest: float) -> None:
    from netspec.runtime.weights.tensor_report import compare_weights

    (change,) = compare_weights({"a": np.array(ours)}, {"a": np.array(theirs)}).changes
    assert (change.verdict, change.largest) == (verdict, largest)


def test_a_part_of_few_tensors_is_not_taken_for_the_weights(state: State) -> None:
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    torch.save({**tensors, "params": {"scale": torch.ones(1)}}, "w.pt")
    loads("w.pt", state)


def test_what_is_left_of_a_checkpoint_is_told(state: State) -> None:
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    torch.save({"state_dict": tensors, "ema": tensors, "best_acc1": torch.tensor(0.5)}, "w.pt")
    assert load_weights("w.pt").notes == ("taken from `state_dict`; not used: `ema`, `best_acc1`",)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_prefix_in_either_file_is_seen_through(state: State, run: Run, is_first: bool) -> None:
    netspec.save_weights("plain.safetensors", state)
    wrapped = {f"module.{name}": array for name, array in state.items()}
    netspec.save_weights("wrapped.safetensors", wrapped)
    files = ["plain.safetensors", "wrapped.safetensors"]
    found = run("weights", *(files[::-1] if is_first else files))
    assert found.code == 0
    assert f"{len(state)} of {len(state)} tensors are equal" in found.out
    assert found.err.startswith("wrapped.safetensors: `module.` taken off ")
