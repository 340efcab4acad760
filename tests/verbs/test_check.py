"""`netspec check` on folders and standard input, `--strict`, and `--fix`."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netspec
from netspec.cli import net_files
from netspec.compiler import driver
from netspec.compiler.analysis.cost_facts import COST_FACTS
from netspec.compiler.driver import Request, compile_request, is_better
from netspec.compiler.fixes import fixed
from netspec.diagnostics import Source
from tests.conftest import ROOT, Run, Write
from tests.helpers.mutations import mutations

GOOD = "net A {\n    input x: [3, 8, 8]\n\n    output x -> conv(4, 3) -> relu\n}\n"
MISSPELT = GOOD.replace("conv", "covn").replace("relu", "rleu")
SUSPICIOUS = GOOD.replace("    output", "    y = x -> relu\n    output")
UNSURE = """\
net A {
    input x: [3, 8, 1]

    output x -> max_pool(2) -> flatten -> linear(10)
}
"""


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


# ---------------------------------------------------------------------------------- what is checked


def test_a_folder_is_its_files(run: Run, write: Write, tmp_path: Path) -> None:
    for name in ("b.net", "a/z.net", ".hidden/c.net", "runs/one/net.net", "notes.txt"):
        write(GOOD, name)
    (tmp_path / "runs" / "one" / "run.json").write_text("{}")
    finished = run("check", tmp_path)
    assert (finished.code, finished.err) == (0, "")
    said = [line.split(":")[0] for line in finished.out.splitlines()]
    assert said == [str(tmp_path / "b.net"), str(tmp_path / "a" / "z.net")]
    assert run("check", tmp_path / "runs" / "one").code == 0  # that folder itself was asked for


def test_a_folder_without_nets_is_a_mistake(run: Run, tmp_path: Path) -> None:
    for verb in ("check", "fmt"):
        finished = run(verb, tmp_path)
        assert finished.code == 1
        assert finished.err.startswith("error[file/no-net]: there is no .net file in ")


def test_a_folder_says_what_it_leaves_out(run: Run, write: Write, tmp_path: Path) -> None:
    write(GOOD, "good.net")
    (tmp_path / "net.net").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "net.net")
    finished = run("check", tmp_path)
    assert finished.code == 0
    assert finished.err.splitlines() == [
        f"note: {tmp_path / 'linked'} is a link to a folder, which is not followed",
        f"note: {tmp_path / 'net.net'} is a folder, not a file",
    ]


# ------------------------------------------------------------------------------------- requirements

HIDDEN = """scan block Cell(n) x {
    state h: [n] = zeros
    h = (x -> linear(n)) + (h -> dropout(0))
    return h
}
block Unit(c) x {
    return x -> conv(c, 3) -> batch_norm
}
net A {
    input x: [1, 8, 8]
    for i in range(2) {
        x = x -> Unit(2)
    }
    output x -> flatten -> linear(10)
}
"""
REQUIRED: dict[str, tuple[list[str], list[tuple[str, int | None]]]] = {
    "met": (["--assert", "params <= 100_000 and macs > 1", "--input", "3,8,8", "--output", "4,_,W",
             "--forbid", "dropout, batch_norm"], []),
    "too many parameters": (["--assert", "params < 112"], [("require/assert", 1)]),
    "two facts": (["--assert", "params < 112", "--assert", "receptive_field > 3"],
                  [("require/assert", 1), ("require/assert", 1)]),
    "another input": (["--input", "1,8,8"], [("require/input", 2)]),
    "one input more": (["--input", "3,8,8", "--input", "5"], [("require/input", 1)]),
    "another output": (["--output", "10"], [("require/output", 4)]),
    "a layer": (["--forbid", "relu"], [("require/layer", 4)]),
    "layers that must be there": (["--require", "conv,relu", "--require", "conv"], []),
    "a layer that is not there": (["--require", "conv,linear,dropout"],
                                  [("require/layer", 1), ("require/layer", 1)]),
    "numbers of all kinds": (["--assert", "numbers <= 112 and constants == 0 and buffers == 0"], []),
}  # fmt: skip
WRONG: dict[str, tuple[list[str], str]] = {
    "a name": (["--assert", "parms < 5"], "name/undefined"),
    "no condition": (["--assert", "params <"], "require/text"),
    "a wrapping that is closed": (["--assert", "params > 1) { } net B("], "require/text"),
    "no truth": (["--assert", "params"], "constant/type"),
    "no layer": (["--forbid", "relu,batchnorm"], "require/op"),
    "no layer to have": (["--require", "convolution"], "require/op"),
    "no shape": (["--input", "1x8x8"], "require/shape"),
}


@pytest.mark.parametrize("name", REQUIRED)
def test_requirements_are_met_or_located(run: Run, write: Write, name: str) -> None:
    arguments, expected = REQUIRED[name]
    path = write(GOOD)
    finished = run("check", path, *arguments, "--format", "json")
    (file,) = json.loads(finished.out)["files"]
    told = [(d["code"], d["span"] and d["span"]["line"]) for d in file["diagnostics"]]
    assert (told, finished.code) == (expected, 1 if expected else 0)
    for form in ("sarif", "junit", "github"):
        assert all(
            code in run("check", path, *arguments, "--format", form).out for code, _ in expected
        )


@pytest.mark.parametrize("name", WRONG)
def test_requirements_that_are_none_are_wrong_use(run: Run, write: Write, name: str) -> None:
    arguments, code = WRONG[name]
    finished = run("check", write(GOOD), *arguments)
    assert finished.code == 2
    assert f"error[{code}]" in finished.err


def test_a_file_cannot_change_what_is_required_of_it(run: Run, write: Write) -> None:
    text = GOOD.replace("net A", "net A(params = 1)").replace("conv(4, 3)", "conv(3 + params, 3)")
    finished = run("check", write(text), "--assert", "params < 5")
    assert finished.code == 1
    assert "= note: params = 112" in finished.err
    library = write("block B x {\n return x\n}\n", "lib/b.net")
    assert "file/no-net" in run("check", library, "--assert", "params < 5").err
    assert run("check", library.parent, "--assert", "params < 5").code == 0


# What walks around a bound on `params` or `macs`: numbers in buffers and constants, costs without MACs.
STORED = """
net Stored {
    input x: [1, 2, 3]
    constant w: [4, 6] = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 1]]
    buffer b: [4] = constant(0)
    y = matmul(w, x -> reshape([6, 1])) -> reshape([4])
    output (x -> flatten -> linear(4)) + y + b
}
"""
DEAR = """
scan block Step x {
    state h: [6] = zeros
    h = gelu(gelu(x + h))
    return h
}
net Dear {
    input x: [5, 6]
    output x -> Step
}
"""
FACTS = {
    STORED: {"params": 28, "constants": 24, "buffers": 4, "numbers": 56, "macs": 48, "layers": 7,
             "flops": 24 + 4 + 6 + 6 + 2 * 48 + 4 + 4 + 4, "receptive_field": "[2, 3]"},
    DEAR: {"params": 0, "numbers": 0, "macs": 0, "layers": 4, "flops": 5 * 18,
           "inference_bytes": 4 * 60, "training_bytes": 4 * 60},
}  # fmt: skip


@pytest.mark.parametrize("text", FACTS, ids=["stored", "dear"])
def test_the_facts_are_those_of_the_summary(run: Run, write: Write, text: str) -> None:
    path = write(text)
    for fact, value in FACTS[text].items():
        assert run("check", path, "--assert", f"{fact} == {value}").err == ""
        assert not netspec.check(path, asserts=[f"{fact} != {value}"])
    summary = netspec.load(path).summary()
    same = {"params": "parameters", "numbers": "numbers", "macs": "macs", "flops": "flops"}
    for fact, name in same.items():
        assert getattr(summary, name) == FACTS[text][fact]


def test_the_page_and_the_help_have_every_fact(run: Run) -> None:
    page = (ROOT / "docs/check.md").read_text("utf-8")
    told = re.findall(r"^\| `(\w+)` \| (.*) \|$", page.partition("| fact |")[2], re.MULTILINE)
    assert dict(told[: len(COST_FACTS)]) == COST_FACTS
    known = run("check", "lenet", "--assert", "parms < 5")
    assert known.code == 2
    assert all(fact in known.err for fact in COST_FACTS)


def test_stored_numbers_can_be_forbidden(run: Run, write: Write) -> None:
    finished = run("check", write(STORED), "--forbid", "parameter,buffer,constant")
    told = re.findall(r"\[require/layer\]: `(\w+)` is not allowed here", finished.err)
    assert (told, finished.code) == (["constant", "buffer"], 1)


def test_of_several_nets_the_one_that_fails_is_named(run: Run, write: Write) -> None:
    other = GOOD.replace("net A", "net B").replace("conv(4, 3)", "conv(5, 3)")
    path = write(GOOD + other)
    for rule in (("--assert", "params < 130"), ("--output", "4,_,_"), ("--assert", "layers < 0")):
        finished = run("check", path, *rule)
        assert finished.code == 1
        assert "= note: this is about B, one of 2 nets; --net chooses one" in finished.err
        assert ("this is about A" in finished.err) == (rule[1] == "layers < 0")
    assert run("check", path, "--net", "A", "--output", "4,_,_").code == 0


def test_forbidden_layers_are_found_in_blocks_imports_and_steps(run: Run, write: Write) -> None:
    write(HIDDEN, "blocks.net")
    path = write(
        'from "blocks.net" import Unit, Cell\nnet B {\n input x: [1, 8, 8]\n'
        " y = x -> Unit(2) -> Unit(2)\n output y -> reshape([2, 16]) -> Cell(3)\n}\n", "b.net"
    )  # fmt: skip
    finished = run(
        "check", path, "--forbid", "batch_norm", "--forbid", "dropout", "--format", "json"
    )
    (file,) = json.loads(finished.out)["files"]
    told = [(d["span"]["file"], d["span"]["line"]) for d in file["diagnostics"]
            if d["code"] == "require/layer"]  # fmt: skip
    assert told == [(str(path.parent / "blocks.net"), line) for line in (3, 7)]


def test_layers_that_must_be_there_are_found_in_blocks_and_must_be_used(
    run: Run, write: Write
) -> None:
    path = write(HIDDEN)
    assert run("check", path, "--net", "A", "--require", "conv,batch_norm").code == 0
    text = (
        "net A {\n input x: [1, 8, 8]\n y = x -> conv(4, 3)\n output x -> flatten -> linear(3)\n}\n"
    )
    finished = run("check", write(text, "unused.net"), "--require", "conv")
    assert finished.code == 1
    assert "error[require/layer]: A has no `conv`, which is asked for" in finished.err


def test_folders_are_formatted_but_no_runs(run: Run, write: Write, tmp_path: Path) -> None:
    ugly = "net A{input x:[3]\noutput x->relu}"
    for name in ("a.net", "b/c.net", "runs/one/net.net"):
        write(ugly, name)
    (tmp_path / "runs" / "one" / "run.json").write_text("{}")
    assert run("fmt", "--check", tmp_path).code == 1
    assert run("fmt", tmp_path).code == 0
    assert (tmp_path / "a.net").read_text() == (tmp_path / "b" / "c.net").read_text() != ugly
    assert (tmp_path / "runs" / "one" / "net.net").read_text() == ugly


def test_standard_input_is_checked(
    run: Run, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, GOOD)
    assert run("check", "-").out == "<stdin>: ok (A: 112 parameters)\n"
    typed(monkeypatch, MISSPELT)
    finished = run("check", "-")
    assert finished.code == 1
    assert "--> <stdin>:4:17" in finished.err
    assert "did you mean `conv`?" in finished.err
    write("block B x {\n    return x -> conv(4, 3)\n}\n", "lib.net")
    monkeypatch.chdir(tmp_path)
    typed(monkeypatch, 'from "lib.net" import B\n' + GOOD.replace("conv(4, 3)", "B"))
    assert run("check", "-").code == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    assert "error[file/not-text]: <stdin>" in run("check", "-").err


@pytest.mark.parametrize("verb", [("check", "-"), ("fmt", "-"), ("diff", "-", "-")])
def test_an_endless_standard_input_is_not_read_to_its_end(
    verb: tuple[str, ...], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless(io.RawIOBase):
        left = 64 << 20

        def readable(self) -> bool:
            return True

        def readinto(self, into: object) -> int:
            assert isinstance(into, memoryview)
            self.left -= len(into)
            assert self.left > 0, "it goes on reading"
            into[:] = b"#" * len(into)
            return len(into)

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Endless())))
    assert "error[limit/file-size]: <stdin> is larger than" in run(*verb).err


# --------------------------------------------------------------------------------------- --strict


def test_strict_fails_for_warnings(run: Run, write: Write) -> None:
    path = write(SUSPICIOUS)
    assert run("check", path).code == 0
    finished = run("check", "--strict", path)
    assert (finished.code, finished.out) == (1, f"{path}: 1 warning\n")
    data = json.loads(run("check", "--strict", "--format", "json", path).out)
    assert (data["ok"], data["files"][0]["ok"]) == (False, False)
    assert run("check", "--strict", write(GOOD, "good.net")).code == 0
    assert "graph/unused" in run("check", "--strict", "--quiet", path).err


# ------------------------------------------------------------------------------------------ --fix


def test_fix_mends_all_that_is_plain(run: Run, write: Write) -> None:
    path = write(MISSPELT)
    finished = run("check", "--fix", path)
    assert (finished.code, path.read_text()) == (0, GOOD)
    assert f"{path}:4:17: did you mean `conv`? [name/unknown-layer]\n" in finished.err
    assert finished.err.endswith(f"{path}: 2 changes made\n")
    again = run("check", "--fix", path)
    assert (again.code, again.err, path.read_text()) == (0, "", GOOD)


def test_fix_goes_on_behind_a_syntax_error(run: Run, write: Write) -> None:
    path = write(GOOD.replace("input x:", "input x =").replace("relu", "rleu"))
    before = path.read_text()
    finished = run("check", "--fix", path)
    assert path.read_text() in (GOOD, before)
    if path.read_text() == GOOD:
        assert finished.code == 0


def test_fix_leaves_warnings_unless_they_count(run: Run, write: Write) -> None:
    doubtful = GOOD.replace("conv(4, 3)", "conv(3, 16, 3)").replace("8, 8", "32, 32")
    path = write(doubtful)
    assert run("check", "--fix", path).code == 0
    assert path.read_text() == doubtful
    assert run("check", "--fix", "--strict", path).code == 0
    assert path.read_text() == doubtful.replace("conv(3, 16, 3)", "conv(16, 3)")


def test_fix_does_not_choose(run: Run, write: Write) -> None:
    path = write(UNSURE)
    result = compile_request(Request(path=path))
    assert max(sum(bool(h.edits) for h in d.hints) for d in result.diagnostics) > 1
    finished = run("check", "--fix", path)
    assert (finished.code, path.read_text()) == (1, UNSURE)
    assert "several changes are possible; choose one" in finished.err


def test_fix_leaves_out_no_argument(run: Run, write: Write) -> None:
    text = GOOD.replace("conv(4, 3)", "conv(4, 3, wrong = 2)")
    path = write(text)
    finished = run("check", "--fix", path)
    assert (finished.code, path.read_text()) == (1, text)
    assert "the change is a guess" in finished.err
    (file,) = json.loads(run("check", "--format", "json", path).out)["files"]
    assert [hint["unsure"] for hint in file["diagnostics"][0]["hints"]] == [True]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("conv(4, k = 3, s = 2, p = 1)", "conv(4, kernel = 3, stride = 2, pad = 1)"),
        ("softmax(dim = -1)", "softmax(axis = -1)"),
        ("mean(dim = 1, keepdim = true)", "mean(axes = 1, keep = true)"),
        ("upsample(scale_factor = 2)", "upsample(scale = 2)"),
        ('conv(4, 3, padding_mode = "zeros")', "conv(4, 3)"),
    ],
)
def test_fix_knows_the_names_of_other_frameworks(
    run: Run, write: Write, written: str, meant: str
) -> None:
    path = write(GOOD.replace("conv(4, 3)", written))
    assert run("check", "--fix", path).code == 0
    assert path.read_text() == GOOD.replace("conv(4, 3)", meant)


@pytest.mark.parametrize(
    ("written", "unsure"),
    [
        ("conv(4 3)", [False]),
        ("conv(4, 3y3)", [True]),
        ("y.relu()", [True]),
        ("covn(4 3)", [False]),
    ],
)
def test_a_change_beside_what_is_still_wrong_is_a_guess(
    run: Run, write: Write, written: str, unsure: list[bool]
) -> None:
    text = GOOD.replace("conv(4, 3)", written)
    path = write(text)
    (file,) = json.loads(run("check", "--format", "json", path).out)["files"]
    (found,) = file["diagnostics"]
    assert [hint["unsure"] for hint in found["hints"] if hint["edits"]] == unsure
    run("check", "--fix", path)
    assert (path.read_text() == text) == unsure[0]


def test_fix_changes_named_files_only(run: Run, write: Write) -> None:
    library = write("block B x {\n    return x -> covn(4, 3)\n}\n", "lib.net")
    path = write('from "lib.net" import B\n' + GOOD.replace("conv(4, 3)", "B"), "a.net")
    before = library.read_text()
    assert run("check", "--fix", path).code == 1
    assert library.read_text() == before
    assert run("check", "--fix", path.parent).code == 0
    assert "conv(4, 3)" in library.read_text()


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_fix_keeps_line_endings(run: Run, tmp_path: Path, mark: bytes, ending: str) -> None:
    path = tmp_path / "a.net"
    path.write_bytes(mark + MISSPELT.replace("\n", ending).encode())
    assert run("check", "--fix", path).code == 0
    assert path.read_bytes() == mark + GOOD.replace("\n", ending).encode()


def test_fix_keeps_links_and_modes_and_leaves_nothing_beside(
    run: Run, write: Write, tmp_path: Path
) -> None:
    path = write(MISSPELT, "real.net")
    path.chmod(0o640)
    (tmp_path / "link.net").symlink_to(path.name)
    assert run("check", "--fix", tmp_path / "link.net").code == 0
    assert (tmp_path / "link.net").is_symlink()
    assert path.read_text() == GOOD
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link.net", "real.net"]


def test_fix_leaves_a_file_that_changed_meanwhile(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(MISSPELT)
    reads = iter([MISSPELT.encode(), b"# edited\n"])
    monkeypatch.setattr(net_files.NetFile, "read", lambda self: next(reads))
    finished = run("check", "--fix", path)
    assert finished.code == 1
    assert "output/unwritable" in finished.err
    assert path.read_text() == MISSPELT


def test_fix_needs_a_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, MISSPELT)
    finished = run("check", "--fix", "-")
    assert finished.code == 2
    assert "usage/fix" in finished.err


def test_fixes_as_json(run: Run, write: Write) -> None:
    data = json.loads(run("check", "--fix", "--format", "json", write(MISSPELT)).out)
    (file,) = data["files"]
    assert (data["ok"], file["diagnostics"]) == (True, [])
    assert [fix["code"] for fix in file["fixes"]] == ["name/unknown-layer"] * 2


@pytest.mark.parametrize(
    ("slip", "wanted"),
    [
        ("z{} = x -> conv(3, kernal = 3)", 50),
        ("z{} = x -> linaer(6)", 50),
        # What must be tried one by one: here a change leaves another error.
        ("z{} = x -> linaer(x, kernal = 3)", 0),
    ],
)
def test_many_changes_cost_few_trials(monkeypatch, slip: str, wanted: int) -> None:
    """Each of 50 passes tried one of them, and then all again: 13 s for 13 KB."""
    compiled = []
    real = driver._compile

    def counted(request: Request, overrides: dict[str, str]) -> driver.Compilation:
        compiled.append(real(request, overrides))
        return compiled[-1]

    monkeypatch.setattr(driver, "_compile", counted)
    lines = ["x = x -> relu"] * 800 + [slip.format(i) for i in range(50)]
    text = "\n".join(["net A {", "input x: [3, 8, 8]", *lines, "output x -> linear(6)", "}", ""])
    done = fixed(Request(source=Source("a.net", text)))
    assert len(done.fixes) >= wanted
    assert len(compiled) < 16


def test_an_error_is_mended_where_warnings_come_to_light_behind_it() -> None:
    """With `warnings` it was left as it is: there are more warnings without it."""
    text = (
        "net A {{\n    input x: [3, 8, 8]\n    y = x -> conv(3, {} = 3)\n"
        "    x = x -> conv(3, 3) -> batch_norm\n    output x\n}}\n"
    )
    done = fixed(Request(source=Source("a.net", text.format("kernal"))), warnings=True)
    assert done.text == text.format("kernel").replace("conv(3, 3)", "conv(3, 3, bias = false)")
    assert [str(d.code) for d in done.result.diagnostics] == ["graph/unused"]


NETS = [ROOT / "networks" / name for name in ("lenet.net", "threelayer.net")]


@settings(max_examples=10)
@given(st.sampled_from(NETS), st.integers(0, 10**6))
def test_a_fixed_file_checks_no_worse(path: Path, seed: int) -> None:
    text = path.read_text("utf-8")
    for mutation in mutations(text, 1, seed):
        request = Request(source=Source("a.net", mutation.apply(text)))
        before = compile_request(request)
        done = fixed(request)
        after = compile_request(Request(source=Source("a.net", done.text)))
        assert [d.message for d in after.errors] == [d.message for d in done.result.errors]
        assert not done.fixes or is_better(after, before, warnings=False)
        assert bool(done.fixes) == (done.text != mutation.apply(text))


# More work than a text may ask for, each in another way.
MUCH = {
    "ranges": " and ".join(["range(99999) == range(99999)"] * 300),
    "lists": " and ".join(["[1.5] * 99999 == [1.5] * 99999"] * 300),
    "sums": " and ".join(["sum([1.5] * 99999) > 1"] * 500),
}


@pytest.mark.parametrize("name", MUCH)
def test_options_have_the_limits_of_a_file(name: str, run: Run, write: Write) -> None:
    net = write("net A(a = true) { input x: [4]\n output x -> linear(3) }")
    for option in ("--assert", "--set"):
        text = MUCH[name] if option == "--assert" else f"a={MUCH[name]}"
        finished = run("check", net, option, text)
        assert finished.code == 2, finished.err[-500:]
        assert finished.err.startswith("error[limit/"), finished.err[:500]


def test_lists_of_wrong_names_and_long_numbers_are_told_in_short(run: Run, write: Write) -> None:
    net = write("net A(a = true) { input x: [4]\n output x -> linear(3) }")
    for verb, option in (("check", "--forbid"), ("check", "--require"), ("summarize", "--columns")):
        finished = run(verb, net, option, "1," * 30_000)
        assert finished.code == 2
        assert len(finished.err) < 20_000
    for option in ("--input", "--output"):
        for sizes in ("9" * 10_000, "1,2," + "9" * 10_000, "_," * 10_000 + "?"):
            finished = run("check", net, option, sizes)
            assert finished.code == 2
            assert finished.err.startswith("error[require/shape]")
            assert len(finished.err) < 500
