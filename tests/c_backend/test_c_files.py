"""The C file as a whole: what it promises of itself, its options, and texts that are no code."""

from __future__ import annotations

import functools
import json
import math
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import netspec
from netspec.compiler.c_backend import c_text
from netspec.compiler.c_backend.emit import COptions, c_source
from netspec.compiler.c_backend.train_file import TrainOptions, train_source
from netspec.runtime.data.input_normalization import Normalization
from netspec.runtime.engine.reference import Reference
from netspec.runtime.weights.safetensors_file import save_weights
from netspec.testing.op_examples import agreement, random_parameters
from netspec.tools.agreement.case import draw_inputs
from tests.helpers.c_programs import CLANG, CXX, GCC, SANITIZED, STRICT, Compiler, run_c
from tests.helpers.golden import check_golden
from tests.helpers.zoo import WIDE
from tests.torch_backend.test_names import TEXTS, in_a_comment, in_a_string

NETWORKS = Path(__file__).parents[2] / "networks"
GOLDEN = Path(__file__).parent / "golden"

SMALL = """\
# A picture in two classes.
net Small(classes = 2) {
    input image: [1, 4, 4]

    output image
        -> conv(3, 3, bias = false) -> batch_norm -> relu
        -> max_pool(2) -> flatten -> linear(classes) -> softmax
}
"""


@functools.cache
def small():
    graph = netspec.loads(SMALL, name="small.net").graph
    ones = {name: np.ones(p.shape) for name, p in graph.parameters.items()}
    return graph, ones


def check_net(graph, compiler, folder, dtype="float64", **options) -> None:
    parameters = random_parameters(graph)
    inputs = draw_inputs(graph, 1, np.random.default_rng(3))
    expected = Reference(graph, parameters, training=False).forward(inputs)
    chosen = COptions("net.h", dtype=dtype, **options)
    found, _ = run_c(graph, parameters, inputs, compiler, folder, chosen)
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    assert all(agreement(expected[name], found[name]) <= tolerance for name in expected)


def test_the_file_is_as_it_should_be():
    graph, ones = small()
    check_golden(GOLDEN / "small.c", c_source(graph, ones).text)


@pytest.mark.parametrize("compiler", [GCC, CLANG, CXX], ids=str)
def test_a_small_net_equals_the_reference(compiler, tmp_path):
    check_net(small()[0], compiler, tmp_path)


@pytest.mark.heavy
@pytest.mark.parametrize("compiler", [GCC, SANITIZED, CLANG, CXX], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lenet_equals_the_reference(compiler, dtype, tmp_path):
    check_net(netspec.load(NETWORKS / "lenet.net").graph, compiler, tmp_path, dtype)


ZOO = sorted(path.stem for path in (NETWORKS / "zoo").glob("*.net"))
ARGUMENTS = WIDE | {
    "resnet18": {"size": 64, "width": 0.25},
    "resnet50": {"size": 64, "width": 0.25},
    "vgg16": {"size": 64},
    "mobilenet_v2": {"size": 64},
    "densenet121": {"size": 64},
    "squeezenet1_0": {"size": 64},
    "swin_t": {"size": 64, "side": 2, "drop_path": 0},
    "bert_base": {"vocabulary": 19, "width": 12, "layers": 2, "heads": 3, "positions": 9, "T": 7},
    "transformer": {"source_vocabulary": 11, "target_vocabulary": 13, "width": 12, "layers": 2,
                    "heads": 3, "hidden": 20, "positions": 9, "S": 8, "T": 5},
    "whisper_tiny_encoder": {"mels": 5, "width": 12, "blocks": 2, "heads": 3, "positions": 9, "T": 14},
    "gpt2": {"vocabulary": 13, "width": 12, "layers": 2, "heads": 3, "positions": 7, "T": 6},
    "char_lstm": {"vocabulary": 13, "width": 6, "layers": 2, "T": 6},
    "llama": {"vocabulary": 13, "width": 16, "layers": 2, "heads": 4, "shared": 2, "hidden": 24, "T": 6},
}  # fmt: skip


@pytest.mark.heavy
@pytest.mark.parametrize("name", ZOO)
def test_the_zoo_in_c_is_what_the_numpy_program_computes(name, tmp_path):
    """The reference is too slow for whole nets; the NumPy program is held against it elsewhere."""
    net = netspec.load(NETWORKS / f"zoo/{name}.net", **ARGUMENTS.get(name, {}))
    model = net.compile()
    inputs = draw_inputs(net.graph, 1, np.random.default_rng(3))
    values = model.forward({key: x.astype("float32") for key, x in inputs.items()})
    expected = (
        values if isinstance(values, dict) else dict(zip(net.graph.outputs, [values], strict=True))
    )
    found, _ = run_c(net.graph, model.parameters, inputs, Compiler("gcc", ("-O2",)), tmp_path)
    for key, value in expected.items():
        assert agreement(value, found[key]) <= 1e-4


@pytest.mark.parametrize(
    "body",
    [
        "output x",
        "output a = x\n output b = x",
        "y = x -> relu\n output a = y\n output b = y\n output c = y -> flatten",
        "parameter w: [2, 3, 3] = normal(1)\n output a = w\n output b = x -> flatten",
        "input z: [4]\n output x -> flatten -> linear(2)",
    ],
)
def test_outputs_that_are_inputs_or_each_other(body, tmp_path):
    check_net(netspec.loads(f"net A {{ input x: [2, 3, 3]\n {body} }}").graph, GCC, tmp_path)


# ------------------------------------------------------------------------------- what is promised


def compiled(folder: Path, text: str, *flags: str) -> Path:
    """Return the object file of a C file, with the stack use of each function beside it."""
    GCC.require()
    (folder / "net.c").write_text(text, "ascii")
    command = ["gcc", "-std=c99", *STRICT, "-O2", "-fstack-usage", *flags, "-c", "net.c"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "net.o"


def sections(path: Path) -> dict[str, int]:
    """Return the bytes of the sections of an object file."""
    shown = subprocess.run(["size", "-A", path], capture_output=True, text=True, check=True).stdout
    return {name: int(size) for name, size in re.findall(r"^(\.\S+)\s+(\d+)", shown, re.M)}


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", ["lenet", "resnet"])
def test_memory_is_as_promised(name, fast, tmp_path):
    graph = netspec.load(NETWORKS / f"{name}.net").graph
    zeros = {n: np.ones(p.shape) for n, p in graph.parameters.items()}
    source = c_source(graph, zeros, COptions(fast=fast))
    path = compiled(tmp_path, source.text)
    held = sections(path)
    assert abs(held[".bss"] - source.arena_bytes) <= 64
    text = sum(size for part, size in held.items() if part.startswith(".text"))
    assert fast or text <= 24 * 1024
    if source.weights is None:
        numbers = sum(size for part, size in held.items() if part.startswith(".rodata"))
        assert abs(numbers - source.constant_bytes) <= 1024
    else:
        assert len(source.weights) == source.constant_bytes
    frames = re.findall(r"\t(\d+)\t", (tmp_path / "net.su").read_text())
    assert max(map(int, frames)) < 1024
    needed = subprocess.run(["nm", "-u", path], capture_output=True, text=True, check=True).stdout
    assert set(needed.split()) <= {"U", "memset", "memcpy", "_GLOBAL_OFFSET_TABLE_"}


def test_a_net_without_a_size_is_refused():
    graph = netspec.load(NETWORKS / "zoo/unet.net").graph
    with pytest.raises(netspec.NetspecError, match="--set H=") as error:
        c_source(graph, {})
    assert error.value.diagnostics[0].code == "compile/no-c"


def test_memory_that_an_int_does_not_count_is_refused():
    graph = netspec.load(NETWORKS / "zoo/unet.net", width=1, H=60000, W=60000).graph
    parameters = random_parameters(graph)
    with pytest.raises(
        netspec.NetspecError, match="57,600,000,000 bytes, more than an int"
    ) as error:
        c_source(graph, parameters)
    assert error.value.diagnostics[0].code == "compile/no-c"
    with pytest.raises(netspec.NetspecError, match="more than an int of C counts"):
        train_source(graph, parameters, TrainOptions(1))


def test_all_layers_without_a_form_are_located_in_one_run(monkeypatch):
    from netspec.compiler.c_backend import calls

    fewer = {k: v for k, v in calls.FORMS.items() if k not in ("softmax.forward", "conv.forward")}
    monkeypatch.setattr(calls, "FORMS", fewer)
    graph, ones = small()
    with pytest.raises(netspec.NetspecError) as error:
        c_source(graph, ones)
    found = error.value.diagnostics
    assert [(d.code, d.span.text) for d in found] == [
        ("compile/no-c", "conv(3, 3, bias = false)"),
        ("compile/no-c", "softmax"),
    ]


# ----------------------------------------------------------------------------------- the options


def test_the_caller_can_provide_the_arena(tmp_path):
    check_net(small()[0], GCC, tmp_path, extern_arena=True)


def test_large_weights_are_a_file_of_their_own(tmp_path, monkeypatch):
    from netspec.compiler.c_backend import emit

    monkeypatch.setattr(emit, "LARGE", 16)
    check_net(small()[0], GCC, tmp_path)
    check_net(small()[0], GCC, tmp_path, "float32", fast=True)


def test_two_files_are_the_same():
    graph, ones = small()
    assert c_source(graph, ones) == c_source(graph, ones)


def test_compile_writes_what_belongs_together(run, write):
    path = write(SMALL, "small.net")
    out = path.with_name("small.c")
    finished = run("compile", path, "--target", "c", "--header", "-o", out)
    assert finished.code == 0
    assert '#include "small.h"' in out.read_text()
    assert "small_predict" in path.with_name("small.h").read_text()
    assert run("compile", path, "--target", "c", "--header", "-o", out).code == 0
    assert run("compile", path, "--target", "c", "--header", "-o", out, "--check").code == 0
    header = path.with_name("small.h").read_text()
    path.with_name("small.h").write_text(header.replace("void", "int"))
    finished = run("compile", path, "--target", "c", "--header", "-o", out, "--check")
    assert finished.code == 1
    assert "small.h is out of date" in finished.err
    path.with_name("small.h").unlink()
    assert run("compile", path, "--target", "c", "--header", "-o", out, "--check").code == 1
    path.with_name("small.h").write_text("mine")
    out.unlink()
    finished = run("compile", path, "--target", "c", "--header", "-o", out)
    assert "output/not-generated" in finished.err
    assert path.with_name("small.h").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--target numpy --fast", "--fast: for --target c alone"),
        ("--target c --plain", "--plain: for --target numpy alone"),
        ("--target c --header", "--header needs -o OUT"),
    ],
)
def test_options_that_do_not_fit_are_refused(run, write, options, said):
    finished = run("compile", write(SMALL), *options.split())
    assert finished.code == 2
    assert said in finished.err


@pytest.mark.parametrize(
    ("target", "name", "said"),
    [
        ("c --header", "small.h", "name it NAME.c: with --header the declarations go to small.h"),
        ("c", "small.H", "name it NAME.c: with --header the declarations go to small.h"),
        ("c", "small.py", "small.py would be C source, and is not named like that"),
        ("numpy", "small.c", "small.c would be a Python program, and is not named like that"),
        ("torch", "small.h", "name it NAME.py\n"),
        ("onnx", "small.c", "name it NAME.onnx"),
    ],
)
def test_a_file_is_not_named_like_one_of_another_kind(run, write, tmp_path, target, name, said):
    out = tmp_path / name
    finished = run("compile", write(SMALL), "--target", *target.split(), "-o", out)
    assert finished.code == 2
    assert said in finished.err
    assert not out.exists()


def test_a_header_beside_that_belongs_to_another_file_is_said(run, write, tmp_path):
    """A program that includes it would compile, with what an older file had."""
    path, out, note = write(SMALL, "small.net"), tmp_path / "small.c", "small.h does not belong to"
    command = ("compile", path, "--target", "c", "-o", out)
    assert note not in run(*command).err  # there is none
    assert note not in run(*command, "--header").err
    assert note not in run(*command).err  # all that it says is true
    found = run(*command, "--arena", "extern")
    assert f"note: {tmp_path / 'small.h'} does not belong to small.c: --header" in found.err
    assert note in run(*command, "--name", "other").err
    assert note in run(*command, "--train").err
    write(SMALL.replace("conv(3,", "conv(4,"), "small.net")  # other weights
    assert note in run(*command).err
    assert note not in run(*command, "--header").err
    (tmp_path / "small.h").write_text("#define MINE 1\n")
    assert note not in run(*command).err


def test_a_net_gives_its_c_file():
    net = netspec.loads(SMALL)
    assert "small_predict(const small_real *image, small_real *output)" in net.source(
        "c", training=False
    )
    assert "small_loss_and_grads" in net.source("c")
    large = netspec.loads("net A { input x: [600]\n output x -> linear(600) }")
    with pytest.raises(netspec.NetspecError, match="a file of their own"):
        large.source("c")


def test_weights_are_those_that_are_given(run, write, tmp_path):
    model = netspec.loads(SMALL).compile(seed=5)
    save_weights(tmp_path / "w.safetensors", model.state_dict())
    path = write(SMALL)
    given = run("compile", path, "--target", "c", "--weights", tmp_path / "w.safetensors")
    assert given.code == 0
    assert c_text.number(float(model.parameters["linear1.bias"][0])) in given.out


CLASSIFIED = """\
#include <stdio.h>
#include "net.h"
int main(void)
{
    static float image[16] = {1, 2, 3, 250, 255}, output[2];
    int best = small_classify(image, output);
    printf("%s|%s|%.6f\\n", small_class_name(best), small_class_name(2), output[0] + output[1]);
    printf("%.9g", output[0]);
    return 0;
}
"""


def test_pixels_in_and_a_class_out(run, write, tmp_path):
    """The numbers are those of a predictor that is given normalised pixels."""
    net = netspec.loads(SMALL.replace(" -> softmax", ""))
    model = net.compile(seed=5)
    by = Normalization("channel", np.full((1, 1, 1), 120, "f"), np.full((1, 1, 1), 60, "f"))
    names = ['a "cat"', "*/ ??/ \u00e9"]
    about = {"class_names": json.dumps(names)}
    save_weights(tmp_path / "w.safetensors", model.state_dict(), by, about)
    path, out = write(SMALL.replace(" -> softmax", "")), tmp_path / "net.c"
    options = ("--classify", "--normalize", "--header", "--weights", tmp_path / "w.safetensors")
    finished = run("compile", path, "--target", "c", "-o", out, *options)
    assert finished.code == 0, finished.err
    (tmp_path / "main.c").write_text(CLASSIFIED)
    program = GCC.build(tmp_path, [out, tmp_path / "main.c"], "program")
    said = subprocess.run([program], capture_output=True, check=True).stdout.decode()
    image = np.zeros((1, 1, 4, 4), "f")
    image.flat[:5] = (1, 2, 3, 250, 255)
    scores = model.forward((image - 120) / 60)[0]
    shares = np.exp(scores) / np.exp(scores).sum()
    first, second = said.splitlines()
    assert first == f"{names[int(shares.argmax())]}||1.000000"
    assert float(second) == pytest.approx(shares[0], abs=1e-6)


@pytest.mark.parametrize("options", ["--normalize", "--classify --target numpy"])
def test_what_needs_weights_or_the_c_file_says_so(run, write, options):
    finished = run("compile", write(SMALL), "--target", "c", *options.split())
    assert finished.code == 2
    assert "weights" in finished.err or "--target c alone" in finished.err


def test_large_weights_without_a_place_are_refused_before_they_are_drawn(run, write):
    """There are 10 GB of them."""
    net = write("net A { input x: [50000]\n output x -> linear(50000) }\n")
    done = run("compile", net, "--target", "c")
    assert done.code == 2
    assert "10,000,200,000 bytes of weights are a file of their own" in done.err
    assert "name the C file: -o OUT" in done.err


# -------------------------------------------------------------------------------- texts and numbers


def hostile(name: str, comment: str, word: str) -> str:
    """Return the C file of a net with these texts wherever texts can be."""
    text = f"""
        # {in_a_comment(comment)}
        block B(mode) x {{
            if mode == "{in_a_string(word)}" {{ x = x -> relu }}  # {in_a_comment(word)}
            return x -> conv(2, 1)  # {in_a_comment(comment)}
        }}
        # {in_a_comment(comment)}
        net N(mode = "{in_a_string(word)}") {{
            input x: [3, 4, 4]
            output x -> B(mode) -> B("{in_a_string(comment)}")
        }}"""
    graph = netspec.loads(text, name=name).graph
    parameters = {n: np.ones(p.shape) for n, p in graph.parameters.items()}
    return c_source(graph, parameters).text


def without_comments(text: str) -> str:
    """Return C as a compiler reads it: comments are blanks, and lines may be continued."""
    text = text.replace("??/", "\\").replace("\\\n", "")
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)


@functools.cache
def harmless() -> str:
    return without_comments(hostile("a.net", "b", "c"))


C_PIECES = st.lists(
    st.sampled_from(["*/", "/*", "//", "??/", "\\", "\\\n", "\n", "#include", "*", "/", "?", "%"]),
    max_size=8,
).map("".join)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(TEXTS | C_PIECES, TEXTS | C_PIECES, TEXTS | C_PIECES)
@example("*/ int main(void) {} /*", "*/ #error /*", "*/ #error /*")
@example("*??/\n/", "*\\\n/", "*\\")
def test_no_text_becomes_code(name, comment, word):
    text = hostile(name, comment, word)
    assert text.isascii()
    assert all(char.isprintable() or char == "\n" for char in text)
    if comment == word:
        return  # then a condition holds that did not
    assert without_comments(text) == harmless()


@given(st.text())
def test_a_comment_cannot_be_left(text):
    shown = c_text.comment(text)
    assert "*/" not in f" {shown} "
    assert "/*" not in shown
    assert "??" not in shown
    assert not shown.endswith("\\")
    assert shown.isascii()


@given(st.floats(), st.booleans())
def test_numbers_are_read_back_as_they_were(value, double):
    text = c_text.number(value, double=double)
    if not math.isfinite(value):
        assert "NAN" in text or "INFINITY" in text
        return
    digits = text.removeprefix("(real)").removesuffix("f")
    assert re.fullmatch(r"-?\d+\.?\d*(e[-+]?\d+)?", digits)
    read = float(np.float32(digits)) if text.endswith("f") else float(digits)
    assert read == (value if double or not text.endswith("f") else float(np.float32(value)))


@pytest.mark.parametrize("word", ["int", "double", "exp", "j0", "real", "arena", "conv", "place"])
def test_names_that_c_has_already(word, tmp_path):
    """Inputs, outputs, parameters and nets with names that mean something in C."""
    text = f"""
        net {word.title()} {{
            input {word}: [2, 5, 5]
            parameter gamma: [2, 1, 1] = ones
            output other = ({word} * gamma) -> conv(2, 3) -> {word}2: conv(2, 1)
            output {word}_ = {word} -> abs
        }}"""
    check_net(netspec.loads(text).graph, GCC, tmp_path)


# ---------------------------------------------------------------------------------------- verify --c


def test_verify_has_a_column_for_c(run, write):
    GCC.require()
    finished = run("verify", write(SMALL), "--c", "--no-torch")
    assert finished.code == 0
    assert finished.out.count("reference | C") == 4  # in both modes and precisions


def test_verify_finds_a_fault_of_the_c_file(run, write, monkeypatch):
    GCC.require()
    from netspec.compiler.c_backend.elementwise import ElementwiseFunctions

    monkeypatch.setattr(ElementwiseFunctions, "call", lambda *given: [])  # no ReLU any more
    finished = run("verify", write(SMALL), "--c", "--no-torch")
    assert finished.code == 1
    assert "the reference and the C file differ at the output `output`" in finished.err
    assert "the program as machine code has " in finished.err
    assert "the values before it are not seen" in finished.err


def test_verify_finds_a_fault_of_machine_code_alone(run, write, monkeypatch):
    GCC.require()
    from netspec.compiler.c_backend import program_file

    class NoFunctions(program_file.ElementwiseFunctions):
        def call(self, *given) -> list[str]:
            return []

    monkeypatch.setattr(program_file, "ElementwiseFunctions", NoFunctions)
    finished = run("verify", write(SMALL), "--c", "--no-torch")
    assert finished.code == 1
    assert "the reference and the program as machine code differ at " in finished.err
    assert "the C file has " in finished.err
