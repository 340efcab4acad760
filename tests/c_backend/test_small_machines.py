"""The C file on other machines: a Cortex-M4 without an operating system, and WebAssembly in node."""

from __future__ import annotations

import functools
import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.c_backend.emit import COptions, c_source
from netspec.compiler.c_backend.int8.int8_file import Int8Options, int8_source
from netspec.testing.op_examples import agreement
from tests.c_backend.test_int8 import DEPTHWISE, case
from tests.helpers.c_programs import STRICT

HERE = Path(__file__).parent / "small_machines"
NETWORKS = Path(__file__).parents[2] / "networks"
M4 = ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
MACHINE = ("-M", "mps2-an386", "-nographic", "-semihosting-config", "enable=on,target=native")
WASM = ("-nostdlib", "-mexec-model=reactor", "-Wl,--no-entry", "-Wl,--export=__heap_base")
# Sequences with exp and tanh, so that the library of the machine is used.
SPEAKS = """
net Speaks {
    input x: [6, 4]
    output x -> layer_norm -> lstm(5) -> gelu -> reshape([30]) -> linear(10) -> softmax
}
"""
NETS = {
    "lenet": lambda: netspec.load(NETWORKS / "lenet.net"),
    "speaks": lambda: netspec.loads(SPEAKS),
}
WHOLE = {
    "lenet": lambda: netspec.load(NETWORKS / "lenet.net"),
    "depthwise": lambda: netspec.loads(DEPTHWISE),
}


def require(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")


@functools.cache
def prepared(name: str, *, fast: bool = False):
    """Return a net's C file, an input, and what the NumPy program predicts."""
    net = NETS[name]()
    model = net.compile(seed=3)
    ((shape),) = net.graph.inputs.values()
    x = np.random.default_rng(5).standard_normal((1, *shape)).astype("f")
    source = c_source(net.graph, model.parameters, COptions("net.h", fast=fast))
    return source, x[0].ravel(), model.forward(x)[0]


def done(command, folder: Path, **options) -> str:
    finished = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        timeout=300, **options,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout[:3000]
    return finished.stdout


def write(source, folder: Path) -> None:
    (folder / "net.c").write_text(source.text, "ascii")
    (folder / "net.h").write_text(source.header, "ascii")


def promised_stack(source) -> int:
    """Return the bytes of stack that a file and its header allow."""
    found = re.search(r"_STACK_BYTES (\d+)", source.header)
    assert found is not None
    assert f"stack     less than {int(found[1]):,} bytes" in source.text
    return int(found[1])


@pytest.mark.heavy
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("level", ["-O1", "-Os", "-O2", "-O3"])
@pytest.mark.parametrize("name", NETS)
def test_a_cortex_m4_predicts_the_same_within_its_stack(name, level, fast, tmp_path):
    require("arm-none-eabi-gcc", "qemu-system-arm")
    source, x, expected = prepared(name, fast=fast)
    write(source, tmp_path)
    numbers = ",".join(f"{float(value):.9e}f" for value in x)
    options = [
        f"-DINPUT={numbers}",
        f"-DOUTPUTS={expected.size}",
        f"-DPREDICT={source.name}_predict",
    ]
    files = [HERE / "m4.c", "net.c", "-T", HERE / "m4.ld", "-I", tmp_path]
    libraries = ["-nostartfiles", "--specs=nosys.specs", "-lm"]
    done(
        [
            "arm-none-eabi-gcc",
            *M4,
            level,
            "-std=gnu99",
            *options,
            *files,
            *libraries,
            "-o",
            "net.elf",
        ],
        tmp_path,
    )
    said = done(["qemu-system-arm", *MACHINE, "-kernel", "net.elf"], tmp_path).split()
    stack, *bits = (int(line, 16) for line in said)
    found = np.array([struct.unpack("f", struct.pack("I", each))[0] for each in bits])
    assert agreement(expected, found) <= 1e-4
    assert 0 < stack <= promised_stack(source)


@pytest.mark.heavy
@pytest.mark.parametrize("level", ["-O0", "-Os", "-O3"])
@pytest.mark.parametrize("net", WHOLE)
def test_whole_numbers_are_the_same_bits_on_a_cortex_m4(level, net, tmp_path):
    """Its instructions for two products at once add what the reference adds, within the stack."""
    require("arm-none-eabi-gcc", "qemu-system-arm")
    _, inputs, whole = case(WHOLE[net](), 2)
    source = int8_source(whole, Int8Options("net.h"))
    assert "__smlad" in source.text
    write(source, tmp_path)
    strict = ["-std=c99", *STRICT, "-O2", "-c", "net.c", "-o", "net.o"]
    done(["arm-none-eabi-gcc", *M4, *strict], tmp_path)
    numbers = ",".join(f"{float(value):.9e}f" for value in inputs["image"][0].ravel())
    options = [
        f"-DINPUT={numbers}",
        f"-DOUTPUTS={4 if net == 'depthwise' else 10}",
        f"-DPREDICT={source.name}_predict",
    ]
    files = [HERE / "m4.c", "net.c", "-T", HERE / "m4.ld", "-I", tmp_path]
    libraries = ["-nostartfiles", "--specs=nosys.specs", "-lm", "-o", "net.elf"]
    done(["arm-none-eabi-gcc", *M4, level, "-std=gnu99", *options, *files, *libraries], tmp_path)
    said = done(["qemu-system-arm", *MACHINE, "-kernel", "net.elf"], tmp_path).split()
    stack = re.search(r"_STACK_BYTES (\d+)", source.header or "")
    assert stack is not None
    assert 0 < int(said[0], 16) <= int(stack[1])
    expected = whole.outputs(inputs)["output"][0].astype("f").view("u4")
    assert [int(line, 16) for line in said[1:]] == expected.tolist()


def blocks(page: str, kind: str) -> list[str]:
    """Return the fenced blocks of a kind in a page."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


@pytest.mark.heavy
@pytest.mark.parametrize("machine", ["cortex-m4", "cortex-m3"])
def test_the_program_of_the_docs_runs(machine, run, tmp_path, monkeypatch):
    """Its files and its command lines are those of the page, word for word."""
    require("arm-none-eabi-gcc", "qemu-system-arm")
    page = (NETWORKS.parent / "docs/c.md").read_text("utf-8")
    (main,) = (text for text in blocks(page, "c") if "void begin" in text)
    (script,) = (text for text in blocks(page, "text") if text.startswith("ENTRY"))
    (lines,) = (text for text in blocks(page, "sh") if "m4.ld" in text)
    compiling, *commands = lines.replace("\\\n", "").splitlines()
    if machine == "cortex-m3":
        main = re.sub(r" +\*\(volatile .*?isb\"\);\n", "", main, flags=re.DOTALL)
        assert "0xE000ED88" not in main
        commands = [
            line.replace("cortex-m4", "cortex-m3").replace("an386", "an385")
            .replace(" -mfpu=fpv4-sp-d16 -mfloat-abi=hard", "")
            for line in commands
        ]  # fmt: skip
    (tmp_path / "main.c").write_text(main)
    (tmp_path / "m4.ld").write_text(script)
    monkeypatch.chdir(tmp_path)
    program, *options = compiling.split()
    assert program == "netspec"
    assert run(*(NETWORKS / o if o == "lenet.net" else o for o in options)).code == 0
    x = np.zeros((1, 1, 28, 28), "f")
    x[0, 0, 14, 14] = 1
    said = [done(command.split(), tmp_path) for command in commands][-1]
    found = [float(line.split()[1]) for line in said.splitlines()]
    expected = netspec.load(NETWORKS / "lenet.net").compile(seed=0).forward(x)[0]
    assert np.abs(expected - found).max() < 1e-5


@pytest.mark.heavy
def test_the_ticks_of_the_docs_are_instructions(run, tmp_path, monkeypatch):
    require("arm-none-eabi-gcc", "qemu-system-arm")
    page = (NETWORKS.parent / "docs/c.md").read_text("utf-8")
    (main,) = (text for text in blocks(page, "c") if "void begin" in text)
    (ticks,) = (text for text in blocks(page, "c") if "SYSTICK" in text)
    (script,) = (text for text in blocks(page, "text") if text.startswith("ENTRY"))
    monkeypatch.chdir(tmp_path)
    head, _, tail = main.partition("static __attribute__((noinline)) void run")
    begin = tail.replace("lenet_predict(image, scores);", 'printf("%u ", ticks());')
    (tmp_path / "main.c").write_text(f"{head}{ticks}static void run{begin}")
    (tmp_path / "m4.ld").write_text(script)
    assert (
        run("compile", NETWORKS / "lenet.net", "--target", "c", "--header", "-o", "lenet.c").code
        == 0
    )
    counts = []
    for level in ("-O2", "-O3"):
        options = [
            level,
            "-T",
            "m4.ld",
            "-nostartfiles",
            "--specs=rdimon.specs",
            "-lm",
            "-o",
            "l.elf",
        ]
        done(["arm-none-eabi-gcc", *M4, "main.c", "lenet.c", *options], tmp_path)
        said = done(
            ["qemu-system-arm", *MACHINE, "-icount", "shift=0", "-kernel", "l.elf"], tmp_path
        )
        counts.append(int(said.split()[0]))
    assert counts == pytest.approx([44_815, 17_952], rel=0.15)


@pytest.mark.heavy
@pytest.mark.parametrize("name", NETS)
def test_webassembly_predicts_the_same(name, tmp_path):
    require("clang", "wasm-ld", "node")
    if not list(Path("/usr").glob("lib/wasm32-wasi/libm.a")):
        pytest.skip("there is no wasi-libc")
    source, x, expected = prepared(name)
    write(source, tmp_path)
    export = f"-Wl,--export={source.name}_predict"
    command = ["clang", "--target=wasm32-wasi", "-O2", *WASM, export, "net.c", "-lm", "-lc"]
    done([*command, "-o", "net.wasm"], tmp_path)
    given = json.dumps([float(value) for value in x])
    function = [f"{source.name}_predict", str(expected.size)]
    said = done(["node", HERE / "run.mjs", *function], tmp_path, input=given)
    assert agreement(expected, np.array(json.loads(said))) <= 1e-4
