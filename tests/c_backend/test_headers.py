"""What a C file and its header say, for a program that has never seen the net."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.c_backend.emit import COptions, CSource, c_source
from netspec.compiler.c_backend.names import Names
from netspec.compiler.c_backend.normalization_macros import declared_normalization
from netspec.compiler.ir.input_scale import InputScale
from netspec.runtime.data.input_normalization import Normalization
from netspec.runtime.data.normalization_text import formula
from netspec.runtime.weights.safetensors_file import save_weights
from tests.helpers.c_programs import CXX, GCC, Compiler

TINY = """
net Tiny {
    input x: [1, 2, 2]
    input count: [4]
    output (x -> flatten -> linear(3)) + (count -> linear(3))
}
"""
PICTURE = "net Picture { input image: [1, 2, 2]\n output image -> flatten -> linear(3) }"


def source_of(text: str, **options) -> CSource:
    graph = netspec.loads(text).graph
    ones = {name: np.ones(p.shape) for name, p in graph.parameters.items()}
    return c_source(graph, ones, COptions(**options))


def said_by(folder: Path, compiler: Compiler, main: str, **sources: CSource) -> list[str]:
    """Return the lines of a program made of these files and headers."""
    files = []
    for name, source in sources.items():
        (folder / f"{name}.h").write_text(source.header or "", "ascii")
        files.append(folder / f"{name}.c")
        files[-1].write_text(source.text, "ascii")
    (folder / "main.c").write_text(main, "ascii")
    program = compiler.build(folder, [*files, folder / "main.c"], "program")
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


TWO = """
#include <stdio.h>
#include "single.h"
#include "twice.h"
#if TINY_ARENA_BYTES > 1024 || TINY_X_NUMBERS != 4 || TINY_OUTPUT_NUMBERS != 3 || TINY_ARENA_NUMBERS < 1
#error "sizes are for the preprocessor too"
#endif
int main(void)
{
    static const float x[TINY_X_NUMBERS] = {1, 2, 3, 4}, more[TINY_COUNT_NUMBERS] = {0};
    static const double x2[TWICE_X_NUMBERS] = {1, 2, 3, 4}, more2[TWICE_COUNT_NUMBERS] = {0};
    static float y[TINY_OUTPUT_NUMBERS];
    static double y2[TWICE_OUTPUT_NUMBERS];
    tiny_predict(x, more, y);
    twice_predict(x2, more2, y2);
    printf("%g %g\\n%d %d\\n", (double)y[0], y2[0], (int)sizeof(tiny_real), (int)sizeof(twice_real));
    return 0;
}
"""


@pytest.mark.parametrize("compiler", [GCC, CXX], ids=str)
def test_two_files_of_a_net_in_two_precisions_are_one_program(compiler, tmp_path):
    one = source_of(TINY, header="single.h")
    two = source_of(TINY, header="twice.h", dtype="float64", name="twice")
    assert said_by(tmp_path, compiler, TWO, single=one, twice=two) == ["12 12", "4 8"]


def test_parameters_of_declared_functions_have_the_names_of_the_net():
    header = source_of(TINY, header="net.h").header or ""
    assert (
        "tiny_predict(const tiny_real *x, const tiny_real *count_2, tiny_real *output);" in header
    )
    alone = source_of("net A { input arena: [2]\n output arena -> abs }", header="net.h")
    assert "a_predict(const a_real *arena, a_real *output);" in (alone.header or "")


WITHOUT_WEIGHTS = """
#include <stdio.h>
#include "net.h"
int main(void)
{
    static const float x[4] = {1, 2, 3, 4};
    static float y[3];
    static const float numbers[15] = {1, 2, 3};
    printf("%d %d %d\\n", picture_predict(x, y), picture_predict_batch(1, x, y), picture_classify(x, y));
    picture_use_weights(numbers);
    printf("%d %d\\n", picture_predict(x, y), picture_classify(x, y) >= 0);
    return 0;
}
"""


def test_weights_that_are_missing_are_said_and_not_read(tmp_path, monkeypatch):
    from netspec.compiler.c_backend import emit

    monkeypatch.setattr(emit, "LARGE", 16)
    net = source_of(PICTURE, header="net.h", classes=("a", "b", "c"))
    assert "Returns 0, or 1, and writes nothing, before it was told where" in (net.header or "")
    assert said_by(tmp_path, GCC, WITHOUT_WEIGHTS, net=net) == ["1 1 -1", "0 1"]
    kept = source_of(PICTURE, weights_in_file=True)
    assert kept.weights is None
    assert "use_weights" not in kept.text


@pytest.mark.parametrize(
    ("mean", "scale", "text"),
    [
        ([77.87], [82.8], "(x - 77.87) / 82.8"),
        ([0], [255], "x / 255"),
        ([3], [1], "x - 3"),
        ([0], [1], "x"),
        ([1, 2, 3], [4, 5, 6], "(x - [1, 2, 3]) / [4, 5, 6]"),
        (range(9), [1] * 9, "x - the mean of its place (9 numbers of the weights file)"),
    ],
)
def test_a_normalization_is_a_formula(mean, scale, text):
    assert formula(Normalization("channel", np.array(mean, "f"), np.array(scale, "f"))) == text


@pytest.fixture
def weights(tmp_path):
    """Return the path of weights that say how pixels were normalised."""
    model = netspec.loads(PICTURE).compile(seed=1)
    by = Normalization("channel", np.full((1, 1, 1), 77.87, "f"), np.full((1, 1, 1), 82.8, "f"))
    path = tmp_path / "w.safetensors"
    about = {"class_names": json.dumps(["cat", "dog", "*/ owl"]), "image_type": "uint8"}
    save_weights(path, model.state_dict(), by, about)
    return path


def test_the_file_and_the_header_say_how_to_normalise(run, write, tmp_path, weights):
    path, out = write(PICTURE), tmp_path / "net.c"
    command = ("compile", path, "--target", "c", "--header", "-o", out)
    done = run(*command, "--weights", weights)
    assert done.code == 0
    assert "initial values" not in done.err
    for text in (out.read_text(), out.with_suffix(".h").read_text()):
        assert "w.safetensors.\n" in text
        assert "image: (pixel - 77.87) / 82.8 of pixels from 0 to 255, as in training" in text
        assert "compile with --normalize" in text
        assert str(tmp_path) not in text
    assert run(*command, "--weights", weights, "--normalize").code == 0
    text = out.with_suffix(".h").read_text()
    assert (
        "image: pixels from 0 to 255, as they are: this file makes (pixel - 77.87) / 82.8" in text
    )


def test_initial_values_are_said(run, write, tmp_path):
    out = tmp_path / "net.c"
    done = run(
        "compile", write(PICTURE), "--target", "c", "--header", "-o", out, "--name", "Second"
    )
    assert done.code == 0
    assert "note: no --weights: the file has the initial values of seed 0" in done.err
    for text in (out.read_text(), out.with_suffix(".h").read_text()):
        assert "The weights are the initial values of seed 0." in text
        assert "second_predict(" in text
    assert "The weights are the initial values" in netspec.loads(PICTURE).source("c")
    assert run("compile", write(PICTURE), "--target", "c", "--name", "a-b").code == 2


WHICH = """
#include <stdio.h>
#include <string.h>
#include "one.h"
#include "whole.h"
#include "blob.h"
static const char held[] = ONE_WEIGHTS_DIGEST;
int main(void)
{
    printf("%s\\n%s\\n%s\\n%s\\n", held, one_weights_digest, whole_weights_digest, blob_weights_digest);
    return (int)sizeof(held) - (int)sizeof(whole_weights_digest);
}
"""


@pytest.mark.parametrize("compiler", [GCC, CXX], ids=str)
def test_a_program_knows_which_weights_it_holds(
    run, write, tmp_path, weights, monkeypatch, compiler
):
    from netspec.compiler.c_backend import emit

    path = write(PICTURE)
    x, y = np.zeros((8, 1, 2, 2), "u1"), np.arange(8) % 3
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    shown = json.loads(run("weights", weights, "--format", "json").out)["digest"]
    assert f"\ndigest {shown}\n" in run("weights", weights).out
    forms = {
        "one": (), "whole": ("--int8", "--calibrate", tmp_path / "d.npz", "--arena", "extern"),
        "blob": ("--normalize",), "alone": (),
    }  # fmt: skip
    files = [tmp_path / f"{name}.c" for name in forms]
    for (name, options), out in zip(forms.items(), files, strict=True):
        monkeypatch.setattr(emit, "LARGE", 16 if name == "blob" else 1 << 20)
        header = () if name == "alone" else ("--header",)
        done = run("compile", path, "--weights", weights, "--target", "c", *options, *header,
                   "--name", name, "-o", out)  # fmt: skip
        assert done.code == 0, done.err
        assert f"digest of the weights: {shown}\n" in done.err
    assert (tmp_path / "blob.weights").is_file()
    (tmp_path / "main.c").write_text(WHICH, "ascii")
    program = compiler.build(tmp_path, [*files, tmp_path / "main.c"], "program")
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [shown] * 4
    assert shown.encode() in (tmp_path / "alone.c").read_bytes()


def test_other_weights_have_another_digest_and_initial_values_theirs(run, write, tmp_path):
    path, found = write(PICTURE), {}
    for seed in (0, 1):
        saved = tmp_path / f"{seed}.safetensors"
        save_weights(saved, netspec.loads(PICTURE).compile(seed=seed).state_dict())
        done = run("compile", path, "--weights", saved, "--target", "c")
        found[seed] = re.findall(r'#define PICTURE_WEIGHTS_DIGEST "(\w{16})"', done.out)
        assert len(found[seed]) == 1
    assert found[0] != found[1]
    text = netspec.loads(PICTURE).source("c", training=False)
    assert re.findall(r'#define PICTURE_WEIGHTS_DIGEST "(\w{16})"', text) == found[0]
    assert f"digest of the weights: {found[0][0]}" in run("compile", path, "--target", "c").err
    empty = write("net A { input x: [2]\n output x -> abs }")
    done = run("compile", empty, "--target", "c")
    assert "digest" not in done.out + done.err


# What a program on a device does with counts of a sensor, by what the header says and nothing else.
OWN = """
#include <math.h>
#include <stdio.h>
#include "n.h"
int main(void)
{
    static const float m[] = N_S_MEAN, s[] = N_S_STD;
    static const int counts[N_S_NUMBERS] = { COUNTS };
    static signed char q[N_S_NUMBERS], out[N_OUTPUT_NUMBERS];
    for (int i = 0; i < N_S_NUMBERS; i++) {
        const int c = i / (N_S_NUMBERS / (int)(sizeof m / sizeof *m));
        const float v = ((float)counts[i] - m[c]) / s[c] / N_S_SCALE + (float)N_S_ZERO;
        q[i] = (signed char)rintf(fminf(fmaxf(v, -128), 127));
    }
    n_predict_int8(q, out);
    for (int i = 0; i < N_OUTPUT_NUMBERS; i++)
        printf("%g ", (double)(N_OUTPUT_SCALE * (float)(out[i] - N_OUTPUT_ZERO)));
    printf("%d\\n", n_classify_int8(q, out));
    return 0;
}
"""
SENSOR = """net N {
    input s: [3, 12]
    output s -> conv(4, 3) -> relu -> flatten -> linear(3)
}
"""


@pytest.fixture(params=["--normalize channel", "--mean 0 --std 8192"])
def sensor(run, write, tmp_path, request):
    """Return the folder of a run on signals of counts, and the counts."""
    rng = np.random.default_rng(3)
    means, spreads = np.array([-38, 3, 8017]), np.array([2600, 90, 1200])
    x = (rng.standard_normal((60, 3, 12)) * spreads[:, None] + means[:, None]).astype(np.int16)
    y = np.arange(60) % 3
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    folder = tmp_path / "r"
    done = run("train", "numpy", write(SENSOR), "--data", tmp_path / "d.npz", "--epochs", 1,
               "--out", folder, *request.param.split())  # fmt: skip
    assert done.code == 0, done.err
    return folder, x


@pytest.mark.parametrize("compiler", [GCC, CXX], ids=str)
def test_a_header_has_what_a_program_needs_to_normalise_and_to_quantise(
    run, tmp_path, sensor, compiler
):
    """`predict_int8` of numbers that the program normalised gives what `predict --normalize` does."""
    folder, x = sensor
    for name, options in {"n": (), "whole": ("--normalize",)}.items():
        done = run("compile", folder, "--target", "c", "--int8", "--classify", "--header",
                   *options, "--name", name, "-o", tmp_path / f"{name}.c")  # fmt: skip
        assert done.code == 0, done.err
    counts = ", ".join(map(str, x[0].ravel()))
    files = [tmp_path / "n.c", tmp_path / "main.c", tmp_path / "whole.c"]
    also = f"""
        static const float raw[] = {{ {counts} }};
        static float scores[N_OUTPUT_NUMBERS];
        whole_predict(raw, scores);
        for (int i = 0; i < N_OUTPUT_NUMBERS; i++)
            printf("%g ", (double)scores[i]);
        printf("%d\\n", whole_classify(raw, scores));
    """
    text = OWN.replace("COUNTS", counts).replace("    return 0;", f"{also}    return 0;")
    files[1].write_text(text.replace('"n.h"', '"n.h"\n#include "whole.h"'), "ascii")
    program = compiler.build(tmp_path, files, "program")
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    own, file = done.stdout.splitlines()
    assert own == file


def test_a_header_says_who_normalises(run, tmp_path, sensor):
    folder, _ = sensor
    out, heads = tmp_path / "n.c", {}
    for options in ((), ("--normalize",), ("--int8",), ("--int8", "--normalize")):
        command = ("compile", folder, "--target", "c", "--header", *options, "-o", out, "--force")
        assert run(*command).code == 0
        heads[options] = out.with_suffix(".h").read_text("ascii")
    stored = netspec.load_run(folder).weights.normalization
    for options, text in heads.items():
        for what, values in (("MEAN", stored.mean), ("STD", stored.scale)):
            (given,) = re.findall(rf"#define N_S_{what} \{{ (.*) \}}", text)
            made = np.array([part.strip("f ") for part in given.split(",")], np.float32)
            assert made.tobytes() == np.broadcast_to(values, (3, 1)).tobytes()
        assert ("This file does it: the caller does not." in text) == (options == ("--normalize",))
        assert ("   The caller does it.\n" in text) == ("--normalize" not in options)
        assert ("(x - MEAN) / STD / SCALE + ZERO, rounded" in text) == ("--int8" in options)
        assert ("predict_int8 takes what is normalised" in text) == (len(options) == 2)
    plain = run("compile", folder.parent / "test.net", "--target", "c").out
    assert "N_S_MEAN" not in plain


@pytest.mark.parametrize(
    ("shape", "mean", "scale", "lines"),
    [
        ((1, 4, 4), (1, 1, 1), (1, 1, 1), ["#define A_X_MEAN { 0.5f }", "#define A_X_STD { 0.5f }"]),
        ((2, 4, 4), (2, 1, 1), (1, 1, 1),
         ["#define A_X_MEAN { 0.5f, 0.5f }", "#define A_X_STD { 0.5f, 0.5f }"]),
        ((2, 4, 4), (1, 1, 1), (1, 1, 1),
         ["#define A_X_MEAN { 0.5f, 0.5f }", "#define A_X_STD { 0.5f, 0.5f }"]),
        ((3,), (1,), (3,),
         ["#define A_X_MEAN { 0.5f, 0.5f, 0.5f }", "#define A_X_STD { 0.5f, 0.5f, 0.5f }"]),
        ((784,), (1,), (1,), ["#define A_X_MEAN { 0.5f }", "#define A_X_STD { 0.5f }"]),
        ((2, 10, 10), (2, 10, 10), (1, 1, 1), None),
        ((3, 10, 10), (3, 10, 10), (1, 1, 1),
         ["/* A_X_MEAN would be 300 numbers: see the weights file. */",
          "#define A_X_STD { 0.5f, 0.5f, 0.5f }"]),
    ],
)  # fmt: skip
def test_macros_are_in_braces_with_a_number_for_each_channel(shape, mean, scale, lines):
    """A program that was written for one training's numbers compiles with those of another."""
    given = {"x": InputScale(np.full(mean, 0.5, "f"), np.full(scale, 0.5, "f"))}
    made = declared_normalization(Names("A"), {"x": shape}, given, "")
    assert made[-1] == ""
    if lines is not None:
        assert made[3:-1] == lines
        return
    long = "\n".join(made[3:-1])
    assert long.count("0.5f") == 202
    assert len(long) < 4095
    assert all(line.endswith(" \\") for line in made[3:-3])
    same = {"x": InputScale(np.zeros(mean), np.ones(scale))}
    assert declared_normalization(Names("A"), {"x": shape}, same, "") == []
