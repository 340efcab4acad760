"""The command line: verbs, exit codes, streams, and what it must not import."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec import cli
from netspec.cli import VERBS
from netspec.cli import check as check_verb
from netspec.cli.other_verbs import WORDS
from netspec.kernels import parallel
from tests.conftest import ROOT, Run, Write

GOOD = "net Good(classes = 2) { input x: [3]\n output x -> linear(classes) }\n"
BAD = "net Bad() { input x: [3]\n output x -> linaer(2) }\n"
SUSPICIOUS = "net Odd() { input x: [3]\n y = x -> relu\n output x -> linear(2) }\n"


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | options.pop("env", {})
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT,
        timeout=120, check=False, **options,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------- check


def test_check_of_a_sound_file(run: Run, networks: Path) -> None:
    path = networks / "lenet.net"
    finished = run("check", path)
    assert finished == type(finished)(0, f"{path}: ok (LeNet: 44,426 parameters)\n", "")


def test_check_of_a_bad_file(run: Run, write: Write) -> None:
    path = write(BAD)
    finished = run("check", path)
    assert finished.code == 1
    assert finished.out == f"{path}: 1 error\n"
    assert "error[name/unknown-layer]" in finished.err
    assert f"{path}:2:14" in finished.err
    assert "did you mean `linear`?" in finished.err
    assert "\x1b" not in finished.err


def test_check_of_many_files_tells_each(run: Run, write: Write) -> None:
    good, bad, odd = write(GOOD, "a.net"), write(BAD, "b.net"), write(SUSPICIOUS, "c.net")
    finished = run("check", good, bad, odd)
    assert finished.code == 1
    assert finished.out.splitlines() == [
        f"{good}: ok (Good: 8 parameters)",
        f"{bad}: 1 error",
        f"{odd}: ok, 1 warning (Odd: 8 parameters)",
    ]


def test_a_warning_is_no_failure(run: Run, write: Write) -> None:
    finished = run("check", write(SUSPICIOUS))
    assert finished.code == 0
    assert "warning[graph/unused]" in finished.err


def test_quiet_check_shows_errors_only(run: Run, write: Write) -> None:
    finished = run("check", "-q", write(GOOD, "a.net"), write(SUSPICIOUS, "b.net"))
    assert (finished.code, finished.out, finished.err) == (0, "", "")
    assert "linaer" in run("check", "-q", write(BAD)).err


def test_check_counts_blocks_where_there_is_no_net(run: Run, write: Write) -> None:
    path = write("block Half() x {\n return x -> relu\n}\n")
    assert run("check", path).out == f"{path}: ok (1 block; no net gives shapes to check)\n"


def test_check_as_json(run: Run, write: Write) -> None:
    finished = run("check", "--format", "json", write(GOOD, "a.net"), write(BAD, "b.net"))
    assert (finished.code, finished.err) == (1, "")
    data = json.loads(finished.out)
    assert data["ok"] is False
    good, bad = data["files"]
    shapes = {"inputs": {"x": [3]}, "outputs": {"output": [2]}}
    assert good["nets"] == [{"name": "Good", "parameters": 8, **shapes}]
    assert (bad["ok"], bad["errors"], bad["warnings"]) == (False, 1, 0)
    (diagnostic,) = bad["diagnostics"]
    assert diagnostic["code"] == "name/unknown-layer"
    assert (diagnostic["span"]["line"], diagnostic["span"]["column"]) == (2, 14)
    assert diagnostic["hints"][0]["edits"][0]["replacement"] == "linear"


@pytest.mark.parametrize(("color", "colored"), [("always", True), ("never", False)])
def test_color_can_be_chosen(run: Run, write: Write, color: str, colored: bool) -> None:
    assert ("\x1b[" in run("check", "--color", color, write(BAD)).err) == colored


def test_no_color_holds_on_a_terminal(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    path = write(BAD)
    assert "\x1b[" in run("check", path).err
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in run("check", path).err


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\xfe", b"net", b"((((" * 30_000, b"net A() {", b"\xef\xbb\xbf", b"}"]
)
def test_rubbish_is_an_ordinary_error(run: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rubbish.net"
    path.write_bytes(content)
    finished = run("check", path)
    assert finished.code == 1
    assert finished.err.startswith("error[")
    assert "Traceback" not in finished.err


def test_a_file_that_is_not_there(run: Run, tmp_path: Path) -> None:
    finished = run("check", tmp_path / "nowhere.net")
    assert finished.code == 1
    assert "cannot read" in finished.err


def test_a_folder_is_no_file(run: Run, tmp_path: Path) -> None:
    assert run("check", tmp_path).code == 1


# -------------------------------------------------------------------------------------- wrong use


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["chek", "a.net"], ["check"], ["check", "a.net", "--formt", "json"],
        ["summarize", "a.net", "--batch", "0"], ["summarize", "a.net", "--batch", "many"],
        ["compile", "a.net"], ["compile", "a.net", "--target", "fortran"],
        ["train"], ["train", "numpy", "a.net", "--optimizer", "adamm"],
        ["train", "numpy", "a.net", "--epochs", "0"],
    ],
)  # fmt: skip
def test_wrong_use_exits_with_2(run: Run, arguments: list[str]) -> None:
    finished = run(*arguments)
    assert finished.code == 2
    assert finished.err.startswith(("usage: netspec", "error"))
    assert not finished.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("summary a.net", "there is no verb `summary`: did you mean `summarize`?"),
        ("ops", "there is no verb `ops`: `netspec explain conv` explains a layer, and docs/layers.md "
         "lists them"),
        ("export a.net", "there is no verb `export`: did you mean `compile`?"),
        ("data d.npz", "there is no `netspec data d.npz`: did you mean `netspec data info d.npz`?"),
        ("data mnist", "there is no `netspec data mnist`: did you mean `netspec data info mnist`?"),
        ("data inf d.npz", "there is no `netspec data inf`: did you mean `info`?"),
        ("import m.onnx", "there is no `netspec import m.onnx`: an ONNX model: `netspec import onnx "
         "m.onnx -o m.net --weights-out m.safetensors`"),
        ("d.npz", "there is no verb `d.npz`: weights or a data set: give the .net file that it is for, "
         "and --weights d.npz or `train --data d.npz`; `netspec data info d.npz` looks through data"),
        ("Convert a.net", "there is no verb `Convert`: did you mean `import` or `compile`?"),
        ("train a.net --optimizer SGD", "argument --optimizer: there is no `SGD`: did you mean `sgd`?"),
        ("train a.net --loss cross_entropy", "argument --loss: there is no `cross_entropy`: did you "
         "mean `softmax`?"),
        ("train a.net --learning-rate 0.1", "there is no option --learning-rate: did you mean --lr?"),
        ("train a.net --epoch=3", "there is no option --epoch: did you mean --epochs?"),
        ("compile a.net --target c --ram 2K", "there is no option --ram: a budget is checked by "
         "`netspec summarize FILE --target c --ram 64K`"),
        ("compile a.net --target c --flash=2K", "there is no option --flash: a budget is checked by "
         "`netspec summarize FILE --target c --flash 256K`"),
        ("train a.net --xyzzy", "there is no option --xyzzy: netspec train --help lists the options"),
        ("train torch a.net b.net", "`b.net` is one argument too many: netspec train "
         "--help shows the arguments"),
        ("compile a.net --target pytorch", "argument --target: there is no `pytorch`: did you mean "
         "`torch`?"),
        ("compile a.net", "the following arguments are required: --target"),
        ("eval a.net --part tset", "argument --part: there is no `tset`: did you mean `test`?"),
        ("summarize a.net --batch 0", "argument --batch: a whole number of at least 1, not '0'"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line_with_what_was_meant(run: Run, arguments: str, said: str) -> None:
    finished = run(*arguments.split())
    assert (finished.code, finished.out) == (2, "")
    assert finished.err == f"error: {said}\n"


def test_what_is_said_of_verbs_of_other_tools_names_verbs() -> None:
    for verbs, words in WORDS.items():
        assert set(verbs) <= set(cli.VERBS)
        assert not set(words.split()) & set(cli.VERBS)


def test_a_target_that_is_none_is_told_apart_from_a_file(run: Run, write: Write) -> None:
    finished = run("train", "pytorch", write(GOOD))
    assert finished.code == 2
    assert "did you mean `torch`?" in finished.err
    assert len(finished.err.splitlines()) <= 3


def test_train_without_a_target_is_numpy(run: Run, write: Write, tmp_path: Path) -> None:
    path = write("net T() { input x: [64]\n output x -> linear(10) }\n")
    for name, target in (("a", ()), ("b", ("numpy",))):
        options = ("--epochs", 1, "--train-limit", 64, "--out", tmp_path / name)
        assert run("train", *target, path, *options).code == 0
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]
    assert json.loads((tmp_path / "a/run.json").read_text())["target"] == "numpy"


@pytest.mark.parametrize("verb", ["check", "summarize"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--net", "Goood"], "did you mean Good?"),
        (["--set", "clases=3"], "did you mean `classes`?"),
        (["--set", "classes"], "name=value"),
        (["--set", "classes=1 2"], "not one constant"),
        (["--set", "classes=3", "--set", "classes=4"], "twice"),
    ],
)
def test_wrong_settings_are_wrong_use(
    run: Run, write: Write, verb: str, options: list[str], said: str
) -> None:
    finished = run(verb, write(GOOD), *options)
    assert finished.code == 2
    assert said in finished.err


def test_a_net_without_arguments_is_told_how_to_take_one(run: Run, write: Write) -> None:
    text = "net Plain {\n    input x: [4]\n    output x -> linear(6)\n}\n"
    finished = run("check", write(text), "--set", "classes=10")
    assert "it takes none: declare it as `net Plain(classes = 10)`" in finished.err


def test_a_setting_that_the_file_cannot_use_is_the_files_error(run: Run, write: Write) -> None:
    finished = run("check", write(GOOD), "--set", "classes=0")
    assert finished.code == 1
    assert "error[call/value]" in finished.err


def test_several_nets_must_be_told_apart(run: Run, write: Write) -> None:
    path = write(GOOD + GOOD.replace("Good", "Other"))
    assert run("check", path).out == (f"{path}: ok (Good: 8 parameters; Other: 8 parameters)\n")
    unclear = run("summarize", path)
    assert unclear.code == 2
    assert "Good, Other" in unclear.err
    assert run("summarize", path, "--net", "Other").out.startswith("Other (x: [N, 3])")


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["train", "-h"]])
def test_help_exits_with_0(run: Run, arguments: list[str]) -> None:
    finished = run(*arguments)
    assert finished.code == 0
    assert "usage: netspec" in finished.out


def test_version(run: Run) -> None:
    assert run("--version").out == f"netspec {netspec.__version__}\n"


# ---------------------------------------------------------------------------------------- compile


def test_compile_prints_a_program(run: Run, networks: Path) -> None:
    finished = run("compile", networks / "lenet.net", "--target", "numpy")
    assert finished.code == 0
    compile(finished.out, "lenet.py", "exec")
    assert "conv1" in finished.out


def test_compile_writes_a_file(run: Run, networks: Path, tmp_path: Path) -> None:
    out = tmp_path / "lenet.py"
    finished = run("compile", networks / "lenet.net", "--target", "numpy", "-o", out)
    assert (finished.code, finished.out) == (0, "")
    again = run("compile", networks / "lenet.net", "--target", "numpy")
    assert out.read_text("utf-8") == again.out
    assert os.listdir(tmp_path) == ["lenet.py"]


def test_compile_where_it_cannot_write(run: Run, networks: Path, tmp_path: Path) -> None:
    out = tmp_path / "no" / "such" / "folder.py"
    finished = run("compile", networks / "lenet.net", "--target", "numpy", "-o", out)
    assert finished.code == 1
    assert "error[output/unwritable]" in finished.err


# ------------------------------------------------------------------------------------------ train


def test_train_says_how_it_went_and_saves(run: Run, networks: Path, tmp_path: Path) -> None:
    from netspec.runtime.weights.weights_file import load_weights

    out = tmp_path / "lenet.safetensors"
    options = ["--epochs", "2", "--batch", "32", "--lr", "2e-3", "--train-limit", "200"]
    finished = run("train", "numpy", networks / "lenet.net", *options, "--val", "50", "--out", out)
    assert finished.code == 0
    assert finished.out.startswith("test accuracy ")
    assert finished.out.endswith(" %\n")
    epochs = [line for line in finished.err.splitlines() if line.startswith("epoch")]
    assert len(epochs) == 2
    for words in ("loss", "train", "val"):
        assert words in epochs[0]
        assert "test" not in epochs[0]
    assert re.search(r"^test \d", finished.err, re.MULTILINE)
    weights = load_weights(out)
    assert weights.tensors["conv1.weight"].shape == (6, 1, 5, 5)
    assert weights.normalization is not None


def test_train_notices_before_training_that_it_cannot_save(
    run: Run, networks: Path, tmp_path: Path
) -> None:
    finished = run(
        "train", "numpy", networks / "lenet.net", "--out", tmp_path / "no" / "x.safetensors"
    )
    assert finished.code == 1
    assert "error[output/unwritable]" in finished.err
    assert "epoch" not in finished.err


def test_train_on_data_that_does_not_exist(run: Run, networks: Path) -> None:
    finished = run("train", "numpy", networks / "lenet.net", "--data", "mnits")
    assert finished.code == 2
    assert "did you mean `mnist`?" in finished.err


# -------------------------------------------------------------------------------- what goes wrong


def _fail(error: BaseException) -> Any:
    def run(_options: object) -> int:
        raise error

    return run


def test_an_internal_error_asks_to_be_reported(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_verb, "run", _fail(KeyError("lost")))
    monkeypatch.delenv("NETSPEC_DEBUG", raising=False)
    finished = run("check", write(GOOD))
    assert finished.code == 70
    assert "internal error, please report: KeyError: 'lost'" in finished.err
    assert "Traceback" not in finished.err
    monkeypatch.setenv("NETSPEC_DEBUG", "1")
    assert "Traceback" in run("check", write(GOOD)).err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "error[limit/memory]: out of memory\n"),
    ],
)
def test_an_interruption_is_a_line(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int,
    said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(check_verb, "run", _fail(error))
    finished = run("check", write(GOOD))
    assert finished.code == code
    assert said in finished.err
    assert "Traceback" not in finished.err


def test_a_closed_pipe_ends_it_quietly(networks: Path) -> None:
    command = [sys.executable, "-m", "netspec", "summarize", str(networks / "resnet.net")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == cli.BROKEN_PIPE
    assert said == ""


@pytest.mark.parametrize(
    "command",
    [
        ["check", "a\0b"],
        ["summarize", "a\0b"],
        ["compile", "{}", "--target", "numpy", "-o", "a\0b"],
    ],
)
def test_a_path_with_a_nul_is_an_ordinary_error(
    run: Run, networks: Path, command: list[str]
) -> None:
    """A shell cannot pass one, but a caller of `main` or `netspec.load` can."""
    finished = run(*(word.format(networks / "lenet.net") for word in command))
    assert finished.code == 1
    assert "null byte" in finished.err


@pytest.mark.skipif(os.name != "posix", reason="closes streams with a shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("check good.net", 0),
        ("check missing.net", 1),
        ("compile good.net --target numpy -o out.py", 0),
        ("train numpy tiny.net --data digits --no-recipe --epochs 1 --train-limit 64"
         " --out w.safetensors", 0),
    ],
)  # fmt: skip
def test_closed_streams_end_nothing(tmp_path: Path, command: str, code: int, closed: str) -> None:
    """Output must also not go into a file that was opened in place of a closed stream."""
    (tmp_path / "good.net").write_text("net A() {\n input x: [3]\n output x -> linear(2)\n}\n")
    (tmp_path / "tiny.net").write_text(
        "net B() {\n input x: [1, 8, 8]\n output x -> flatten -> linear(10)\n}\n"
    )
    finished = subprocess.run(
        ["sh", "-c", f'exec "$0" -m netspec {command} {closed}', sys.executable],
        capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    said = finished.stdout + finished.stderr
    assert finished.returncode == code, said
    assert "Traceback" not in said
    assert "internal" not in said
    if "-o out.py" in command:
        assert (tmp_path / "out.py").read_text() == netspec.load(tmp_path / "good.net").source()
    if "--out" in command:
        assert netspec.load_weights(tmp_path / "w.safetensors").tensors


# A command of each verb that ends well, or with 2 where it has nothing to do.
QUICK_VERBS = {
    "new": "new threelayer", "check": "check tiny.net", "summarize": "summarize tiny.net",
    "draw": "draw tiny.net", "diff": "diff tiny.net tiny.net", "fmt": "fmt tiny.net",
    "watch": "watch tiny.net",
    "lsp": "lsp", "explain": "explain shape/rank", "compile": "compile tiny.net --target numpy",
    "data": "data info digits",
    "train": "train tiny.net --data digits --epochs 1 --train-limit 64 --out run", "runs": "runs run",
    "eval": "eval run", "predict": "predict run x.npy", "generate": "generate run",
    "test-op": "test-op op.py", "sweep": "sweep lr.toml",
    "weights": "weights run/weights.safetensors",
}  # fmt: skip
SLOW_VERBS = {
    "import": "import onnx tiny.onnx", "verify": "verify tiny.net", "gradcheck": "gradcheck tiny.net",
    "doctor": "doctor tiny.net", "plot": "plot run -o p.png", "bench": "bench tiny.net",
}  # fmt: skip
# Each begins without standard streams, as a process whose shell has closed them does.
WITHOUT_STREAMS = """
import json, os, signal, sys, threading
from netspec.cli import main

codes = {}
for verb, command in json.loads(sys.argv[1]).items():
    for number in range(3):
        try:
            os.close(number)
        except OSError:
            pass
    sys.stdin = sys.stdout = sys.stderr = None
    if verb == "watch":
        threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        codes[verb] = main(command.split())
    except BaseException as error:
        codes[verb] = repr(error)
with open("codes.json", "w") as file:
    json.dump(codes, file)
"""


def test_each_verb_is_run_without_streams() -> None:
    assert set(QUICK_VERBS) | set(SLOW_VERBS) == set(VERBS)


@pytest.mark.skipif(os.name != "posix", reason="closes streams as a shell does")
@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.heavy)])
def test_no_verb_needs_a_standard_stream(run: Run, tmp_path: Path, monkeypatch, slow: bool) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.net").write_text(
        "net A { input x: [1, 8, 8]\n output x -> flatten -> linear(10) }\n"
    )
    Path("op.py").write_text("")
    Path("lr.toml").write_text('lr = [1e-3]\nepochs = 1\n[sweep]\nnet = "tiny.net"\n')
    np.save("x.npy", np.ones((1, 1, 8, 8), np.float32))
    commands = dict(SLOW_VERBS if slow else QUICK_VERBS)
    if slow:
        for library in ("onnx", "onnxruntime", "torch", "matplotlib"):
            pytest.importorskip(library)
        assert run(*QUICK_VERBS["train"].split()).code == 0
        assert run(*"compile tiny.net --target onnx -o tiny.onnx".split()).code == 0
    if importlib.util.find_spec("pygls") is None:
        commands.pop("lsp", None)
    finished = subprocess.run(
        [sys.executable, "-c", WITHOUT_STREAMS, json.dumps(commands)],
        cwd=tmp_path, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert finished.returncode == 0
    codes = json.loads(Path("codes.json").read_text())
    wanted = {"generate": 2, "test-op": 1}
    assert {v: c for v, c in codes.items() if c} == {v: c for v, c in wanted.items() if v in codes}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_ordinary_error(networks: Path) -> None:
    with open("/dev/full", "w") as full:
        finished = subprocess.run(
            [sys.executable, "-m", "netspec", "check", str(networks / "lenet.net")],
            stdout=full, stderr=subprocess.PIPE, cwd=ROOT, text=True, check=False,
        )  # fmt: skip
    assert finished.returncode == 1
    assert "error[output/unwritable]" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_terminal_without_unicode_is_no_problem(write: Write) -> None:
    path = write("# \N{GREEK SMALL LETTER ALPHA}\nnet A() { input x: [3]\n output x -> \u03b1 }\n")
    finished = python("-m", "netspec", "check", str(path), env={"PYTHONIOENCODING": "ascii"})
    assert finished.returncode == 1
    assert "\\u03b1" in finished.stderr
    assert "Traceback" not in finished.stderr


# ----------------------------------------------------------------------------------- what it loads

HEAVY = ("torch", "numexpr", "numpy", "networkx", "sklearn", "scipy")


@pytest.mark.parametrize("verb", ["check", "summarize"])
def test_light_verbs_load_nothing_heavy(verb: str, networks: Path) -> None:
    program = (
        "import sys; from netspec.cli import main;"
        f"code = main([{verb!r}, {str(networks / 'resnet.net')!r}]);"
        f"print('loaded', [name for name in {HEAVY!r} if name in sys.modules], code)"
    )
    assert python("-c", program).stdout.splitlines()[-1] == "loaded [] 0"


def test_it_runs_as_a_module(networks: Path) -> None:
    finished = python("-m", "netspec", "check", str(networks / "lenet.net"))
    assert finished.returncode == 0
    assert "44,426" in finished.stdout


@pytest.mark.parametrize("verb", ["train numpy", "train torch", "eval", "bench", "summarize"])
@pytest.mark.parametrize("count", ["0", "1025", "9" * 18, "9" * 5_000, "two"])
def test_there_are_no_more_threads_than_a_machine_could_have(
    verb: str, count: str, run: Run, networks: Path
) -> None:
    finished = run(*verb.split(), networks / "lenet.net", "--threads", count)
    assert finished.code == 2, finished.err
    assert "threads" in finished.err


@pytest.mark.parametrize("given", ["9" * 18, "9" * 5_000, "\u00b2", "-1", ""])
def test_a_number_of_threads_in_the_environment_is_taken_within_reason(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_threads", 0)
    monkeypatch.setenv("NETSPEC_NUM_THREADS", given)
    assert 1 <= parallel.threads() <= parallel.MOST_THREADS
    parallel.set_threads(10**18)
    assert parallel.threads() == parallel.MOST_THREADS
