"""Models that are machine code: numbers as NumPy's, for any batch and any number of threads; the cache
of libraries; what is told where something is missing.
"""

from __future__ import annotations

import os
import platform
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.c_backend import first_layers, program_file
from netspec.compiler.c_backend.forms import engine
from netspec.kernels import parallel
from netspec.runtime.engine.native import c_compiler, code, library_cache, prepared
from netspec.runtime.engine.native.require import require_c
from tests.c_backend.test_c_training import DROPS, MANY, MORE, NET
from tests.helpers.errors import fails
from tests.helpers.native_threads import SHARED, share_everything

NETS = {"small": NET, "more": MORE, "many": MANY, "drops": DROPS}
OPEN = "net Open(classes = 3) { input image: [2, H, W]\n output image -> conv(4, 3) -> relu"
OPEN += " -> global_avg_pool -> linear(classes) }"
SCAN = """
scan block Running(width) x {
    state sum: [width] = zeros
    sum = sum + x
    return sum
}
net Scanned(classes = 3) {
    input image: [5, 4]
    x = image -> linear(4) -> Running(4)
    output x -> Running(4) -> flatten -> linear(classes)
}
"""
MOST = 1e-12
X86 = platform.machine() in ("x86_64", "AMD64")


@pytest.fixture(autouse=True)
def _quickly(monkeypatch) -> None:
    """The numbers are to be right, also of small loops that threads share; a quarter of the time is
    enough to compile for that.
    """
    monkeypatch.setenv("CFLAGS", f"-O1 {SHARED}")
    share_everything(monkeypatch)


def both(text: str, dtype: str = "float64"):
    net = netspec.loads(text)
    return net.compile(dtype=dtype, seed=1), net.compile("c", dtype=dtype, seed=1)


def batch(model, images: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    shape = tuple(n if isinstance(n, int) else 9 for n in next(iter(model.graph.inputs.values())))
    return rng.standard_normal((images, *shape)), rng.integers(0, 3, images)


def assert_close(ours, theirs) -> None:
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("name", NETS)
def test_numbers_are_those_of_the_numpy_model(name) -> None:
    """For several batches: outputs, loss, gradients, statistics and counters."""
    numpy, native = both(NETS[name])
    for images in (5, 2, 7):
        x, y = batch(numpy, images, images)
        np.testing.assert_allclose(native.forward(x), numpy.forward(x), rtol=0, atol=1e-10)
        (a, ours), (b, theirs) = (
            native.loss_and_grads(x, y, l2=0.1),
            numpy.loss_and_grads(x, y, l2=0.1),
        )
        assert abs(a - b) < MOST
        assert_close(ours, theirs)
        assert_close(native.state_dict(), numpy.state_dict())
        np.testing.assert_allclose(native.predictor()(x), numpy.predictor()(x), rtol=0, atol=1e-10)


# Layers whose tiles end in the middle: of a picture, of a block of filters, of a vector; pads, strides,
# dilations, groups, one channel, and pools that leave places out.
EDGES = """
net Edges(classes = 3) {
    input image: [1, 11, 9]
    x = image -> conv(5, [3, 2], pad = 1, dilation = 2) -> max_pool(2)
    x = x -> conv(6, [5, 4], pad = 1) -> conv(20, 3, pad = 1, stride = 2)
    x = x -> batch_norm -> relu -> conv(34, 1)
    y = x -> conv(6, 3, pad = 1, groups = 2) -> conv(7, 1, stride = 2)
    z = image -> conv(22, [4, 3], pad = 2, stride = [2, 1]) -> max_pool(3, stride = 2, pad = 1)
    output (y -> flatten, z -> flatten) -> concat -> linear(21) -> relu -> linear(classes)
}
"""


LARGE = "net Large { input image: [2, 40, 40]\n output image -> conv(3, 3) -> relu -> flatten }"
VIEW = "net View { input image: [2, 40, 40]\n output image -> flatten }"


@pytest.mark.parametrize("text", [LARGE, VIEW], ids=["computed", "view"])
def test_a_predictor_reads_large_inputs_where_they_are(text) -> None:
    """Whether or not their numbers follow each other and are aligned, and whichever came before."""
    numpy, native = (model.predictor() for model in both(text, "float32"))
    rng = np.random.default_rng(0)
    plain = rng.standard_normal((4, 2, 40, 40)).astype("f")
    apart = rng.standard_normal((4, 40, 40, 2)).astype("f").transpose(0, 3, 1, 2)
    odd = np.frombuffer(
        b"." + rng.standard_normal(plain.shape).astype("f").tobytes(), "f", offset=1
    )
    odd = odd.reshape(plain.shape)
    assert not apart.flags.c_contiguous
    assert not odd.flags.aligned
    assert plain.nbytes > prepared.COPIED
    found = [native(x) for x in (plain, apart, plain, odd, plain, plain + 1)]
    expected = [numpy(x) for x in (plain, apart, plain, odd, plain, plain + 1)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "flags"),
    [
        ("float64", "-O1"),
        ("float32", "-O1"),
        ("float32", "-O1 -DNO_VECTORS"),
        pytest.param("float32", "-O1 -mno-avx", marks=pytest.mark.skipif(not X86, reason="x86")),
    ],
)
def test_tiles_that_end_in_the_middle_have_the_same_numbers(monkeypatch, dtype, flags) -> None:
    """For vectors of every width, and one number at a time."""
    monkeypatch.setenv("CFLAGS", f"{flags} {SHARED}")
    most = 1e-10 if dtype == "float64" else 1e-5
    numpy, native = both(EDGES, dtype)
    for images in (5, 1):
        x, y = batch(numpy, images, images)
        np.testing.assert_allclose(native.forward(x), numpy.forward(x), rtol=0, atol=most)
        ours, theirs = native.loss_and_grads(x, y)[1], numpy.loss_and_grads(x, y)[1]
        for name, array in theirs.items():
            np.testing.assert_allclose(ours[name], array, rtol=0, atol=most, err_msg=name)


# Rows, inputs and outputs of which several pieces, groups and blocks are made, and a part of one.
WIDE = (
    "net Wide(classes = 3) { input x: [301]\n output x -> linear(557) -> relu -> linear(classes) }"
)

# Layers that one kernel computes, with what follows them: additions, limits, none of both. Tiles of four
# by four outputs that end in the middle, and channels that do not fill a vector.
WINOGRAD = """
net Tiles(classes = 3) {
    input image: [8, 9, 14]
    x = image -> conv(9, 3, pad = 1) -> relu
    y = x -> conv(9, 3, pad = 1)
    x = x + y -> relu -> conv(20, 3) -> relu6
    y = x -> conv(33, 3, pad = 1, bias = false)
    z = x -> conv(33, 1)
    x = z + y
    x = x -> clip(low = -1.5, high = 0.5) -> conv(17, 3, pad = 2) -> clip(high = 0.25)
    x = x -> conv(17, 3, pad = 1, groups = 17) -> relu6
    y = x -> conv(17, 5, pad = 2, groups = 17, bias = false)
    x = x + y -> conv(17, [2, 3], stride = [1, 2], pad = [0, 1], groups = 17)
    x = x -> conv(17, 3, pad = 2, dilation = 2, groups = 17) -> max_pool(2, pad = 1) -> relu
    x = x -> flatten -> linear(20)
    output x + (x -> linear(20) -> relu) -> relu -> linear(classes)
}
"""


@pytest.mark.parametrize(
    "flags",
    [
        "-O1",
        "-O1 -DNO_VECTORS",
        pytest.param("-O1 -mno-avx", marks=pytest.mark.skipif(not X86, reason="x86")),
    ],
)
def test_winograds_tiles_and_joined_layers_have_the_numbers_of_the_numpy_model(
    monkeypatch, flags
) -> None:
    monkeypatch.setenv("CFLAGS", f"{flags} {SHARED}")
    numpy, native = both(WINOGRAD, "float32")
    predictor = native.predictor()
    for images in (5, 1):
        x, y = batch(numpy, images, images)
        expected = numpy.forward(x)
        size = np.abs(expected).max()
        for found in (native.forward(x), predictor(x)):
            np.testing.assert_allclose(found / size, expected / size, rtol=0, atol=1e-5)
        ours, theirs = native.loss_and_grads(x, y)[1], numpy.loss_and_grads(x, y)[1]
        for name, array in theirs.items():
            size = max(1e-3, np.abs(array).max())
            np.testing.assert_allclose(ours[name] / size, array / size, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e38])
def test_what_is_not_finite_reaches_the_outputs_whose_windows_hold_it(bad) -> None:
    """Winograd's algorithm makes each output of a tile from all that the tile reads."""
    text = "net A { input x: [8, 9, 14]\n output x -> conv(9, 3, pad = 1) -> relu }"
    numpy, native = both(text, "float32")
    x = batch(numpy, 3)[0].astype(np.float32)
    sound = native.forward(x)
    x[1, 2, 4, 6] = bad
    with np.errstate(all="ignore"):
        expected = numpy.forward(x)
    found = native.forward(x)
    assert np.array_equal(np.isfinite(found), np.isfinite(expected))
    near = np.isfinite(expected) & (np.abs(expected) < 1e3)
    np.testing.assert_allclose(found[near], expected[near], rtol=0, atol=1e-4)
    assert np.array_equal(found[[0, 2]], sound[[0, 2]])


def test_linear_layers_that_are_cut_into_pieces_have_the_numbers_of_the_numpy_model() -> None:
    numpy, native = both(WIDE)
    before = parallel.threads()
    try:
        for threads, images in ((1, 131), (3, 131), (2, 7), (3, 2)):
            parallel.set_threads(threads)
            x, y = batch(numpy, images, images)
            assert_close(native.loss_and_grads(x, y)[1], numpy.loss_and_grads(x, y)[1])
            for found in (native.forward(x), native.predictor()(x)):
                np.testing.assert_allclose(found, numpy.forward(x), rtol=0, atol=1e-10)
    finally:
        parallel.set_threads(before)


def _has(what: str) -> bool:
    try:
        return what in Path("/proc/cpuinfo").read_text("ascii").split()
    except OSError:
        return False


# Machines with vectors of 16, 32 and 64 bytes; what comes last is what the compiler is told.
MACHINES = {
    "sse2": ("-march=x86-64", "sse2"),
    "avx2": ("-march=x86-64 -mavx2", "avx2"),
    "avx512": ("-march=x86-64-v4", "avx512vl"),
}


@pytest.mark.heavy
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("machine", MACHINES)
def test_machines_with_other_vectors_compute_the_same(monkeypatch, machine, dtype) -> None:
    """Every net of this file, and bits that do not depend on the number of threads."""
    flags, what = MACHINES[machine]
    if not _has(what):
        pytest.skip(f"this processor has no {what}")
    test_tiles_that_end_in_the_middle_have_the_same_numbers(monkeypatch, dtype, f"-O2 {flags}")
    if dtype == "float64":
        for name in NETS:
            test_numbers_are_those_of_the_numpy_model(name)
        test_pictures_of_any_size_where_a_net_leaves_it_open()
        test_frozen_parameters_get_no_gradient_and_the_others_the_same()
        test_images_are_computed_in_parts_from_input_to_output(monkeypatch, 3)
    else:
        for net in (NET, WINOGRAD):
            test_bits_do_not_depend_on_the_number_of_threads(net)
        test_winograds_tiles_and_joined_layers_have_the_numbers_of_the_numpy_model(
            monkeypatch, f"-O2 {flags}"
        )


def test_pictures_of_any_size_where_a_net_leaves_it_open() -> None:
    numpy, native = both(OPEN)
    for high in (5, 9):
        x = np.random.default_rng(high).standard_normal((3, 2, high, 8))
        np.testing.assert_allclose(native.forward(x), numpy.forward(x), rtol=0, atol=1e-10)


def test_frozen_parameters_get_no_gradient_and_the_others_the_same() -> None:
    numpy, native = both(NET)
    x, y = batch(numpy, 4)
    names = {name for name in numpy.gradients if name.startswith(("conv1", "batch_norm1"))}
    for model in (numpy, native):
        model.freeze(names)
    ours, theirs = native.loss_and_grads(x, y)[1], numpy.loss_and_grads(x, y)[1]
    assert names
    assert not names & ours.keys()
    assert_close(ours, theirs)


@pytest.mark.parametrize("net", [NET, WINOGRAD, WIDE], ids=["small", "winograd", "wide"])
def test_bits_do_not_depend_on_the_number_of_threads(net) -> None:
    _, native = both(net, "float32")
    x, y = batch(native, 64)
    found = []
    before = parallel.threads()
    try:
        for count in (1, 2, 4, 8):
            parallel.set_threads(count)
            native.loss_and_grads(x, y, training=False)
            found.append(native.flat_gradients.tobytes())
    finally:
        parallel.set_threads(before)
    assert len({*found}) == 1


@pytest.mark.parametrize("threads", [1, 3])
def test_images_are_computed_in_parts_from_input_to_output(monkeypatch, threads) -> None:
    """The memory of a part is used again for the next, and what the caller reads is not in it."""
    two = f"{NET.strip()[:-1]}\n output other = image -> conv(3, 3) -> flatten\n}}"
    numpy, native = both(two)
    x = batch(numpy, 7)[0]
    monkeypatch.setattr(program_file, "_images_of_part", lambda *_: 2)
    before = parallel.threads()
    try:
        parallel.set_threads(threads)
        for given in (x, x[:1], x):
            expected = numpy.forward(given)
            for found in (native.forward(given), native.predictor()(given)):
                assert found.keys() == expected.keys()
                assert_close(found, expected)
    finally:
        parallel.set_threads(before)


def test_convolutions_of_single_places_are_linear_layers(monkeypatch) -> None:
    monkeypatch.setattr(engine, "SHARED", 0)
    test_winograds_tiles_and_joined_layers_have_the_numbers_of_the_numpy_model(monkeypatch, "-O1")
    test_numbers_are_those_of_the_numpy_model("small")


@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_layers_take_a_few_images_at_a_time_before_large_weights(
    monkeypatch, threads
) -> None:
    """What a layer behind them or the caller reads is kept of all images, what is between of none."""
    text = f"{EDGES.strip()[:-1]}\n output other = y -> relu\n}}"
    numpy, plain = both(text)
    x = batch(numpy, 7)[0]
    expected, seen = plain.predictor()(x), []
    find = program_file.first_layers
    monkeypatch.setattr(
        program_file, "first_layers", lambda *given: seen.append(find(*given)) or seen[-1]
    )
    monkeypatch.setattr(program_file, "_images_of_part", lambda *_: 100)
    monkeypatch.setattr(first_layers, "OF_WEIGHTS", 8 * 4000)
    before = parallel.threads()
    try:
        parallel.set_threads(threads)
        for cache, images in ((1, 1), (8 * 6000, 3)):
            monkeypatch.setattr(first_layers, "CACHE", cache)
            predictor = netspec.loads(text).compile("c", dtype="float64", seed=1).predictor()
            for given in (x, x[:1]):
                for name, array in predictor(given).items():
                    assert np.array_equal(array, expected[name][: len(given)])
            assert seen[-1].images == images
    finally:
        parallel.set_threads(before)


def test_more_numbers_than_c_counts_are_refused(monkeypatch) -> None:
    _, native = both(NET)
    monkeypatch.setattr(code, "MOST", 1000)
    with fails("limit/memory"):
        native.forward(batch(native, 50)[0])


# ----------------------------------------------------------------------------------------- the cache


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache folder, and no library that this process has loaded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(library_cache, "_loaded", {})
    return tmp_path / "netspec" / "native"


SMALLEST = "net A { input x: [4]\n output x -> relu() }"
LINEAR = "net A { input x: [4]\n output x -> linear(%d) }"


def forward(net: str = SMALLEST) -> None:
    netspec.loads(net).compile("c").forward(np.ones((1, 4)))


def test_what_was_compiled_is_kept_for_the_user_alone(cache, monkeypatch) -> None:
    forward()
    (library,) = cache.iterdir()
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    monkeypatch.setattr(library_cache, "_loaded", {})
    monkeypatch.setattr(c_compiler.CCompiler, "build", lambda *_: pytest.fail("compiled again"))
    forward()
    assert [*cache.iterdir()] == [library]


def test_what_nets_share_is_compiled_once(cache, monkeypatch) -> None:
    forward(LINEAR % 2)
    shared = sorted(cache.glob("*.o"))
    first, *_ = shared
    content, before = first.read_bytes(), first.stat().st_mtime_ns
    forward(LINEAR % 3)
    assert sorted(cache.glob("*.o")) == shared
    assert len([*cache.glob("*.so")]) == 2
    assert first.stat().st_mtime_ns > before  # it was used, and stays longer
    first.write_bytes(content[:100])
    forward(LINEAR % 4)
    assert first.read_bytes() == content
    for library in cache.glob("*.so"):
        library.unlink()
    monkeypatch.setattr(library_cache, "_loaded", {})
    monkeypatch.setattr(c_compiler.CCompiler, "build_object", lambda *_: pytest.fail("again"))
    forward(LINEAR % 4)


def test_other_flags_are_another_library(cache, monkeypatch) -> None:
    forward()
    monkeypatch.setenv("CFLAGS", "-mno-avx -O1")
    forward()
    assert len([*cache.glob("*.so")]) == 2


@pytest.mark.parametrize("left", [0, 10, 0.5, 0.99])
def test_a_library_that_was_cut_off_is_compiled_again(cache, tmp_path, monkeypatch, left) -> None:
    forward()
    (sound,) = cache.iterdir()
    content = sound.read_bytes()
    # In another folder: a system that has a library of this path open does not read it again.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    library = tmp_path / "other" / "netspec" / "native" / sound.name
    library.parent.mkdir(parents=True, mode=0o700)
    library.write_bytes(content[: left if isinstance(left, int) else int(left * len(content))])
    (tmp_path / "other" / "netspec").chmod(0o755)
    program = f"import netspec, numpy; net = netspec.loads({SMALLEST!r})\n"
    program += "print(net.compile('c').forward(numpy.ones((1, 4))).shape)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )  # of its own: a library that is cut off ends it by a signal
    assert (done.returncode, done.stdout.strip()) == (0, "(1, 4)")
    assert library.read_bytes() == content


def test_whoever_lets_a_group_write_by_default_can_use_the_cache(cache) -> None:
    before = os.umask(0o002)
    try:
        forward()
    finally:
        os.umask(before)
    assert stat.S_IMODE(cache.parent.stat().st_mode) == 0o755


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs POSIX")
@pytest.mark.parametrize("which", ["native", "netspec"])
def test_a_folder_that_others_may_write_to_is_refused(cache, which) -> None:
    cache.mkdir(parents=True, mode=0o700)
    (cache if which == "native" else cache.parent).chmod(0o777)
    with fails("compile/cache") as found:
        forward()
    assert "others may write to it" in str(found.value)


def test_a_link_in_place_of_the_folder_is_refused(cache, tmp_path) -> None:
    cache.parent.mkdir()
    (tmp_path / "elsewhere").mkdir()
    cache.symlink_to(tmp_path / "elsewhere")
    with fails("compile/cache"):
        forward()


def test_the_library_that_was_not_used_for_longest_goes(cache, monkeypatch) -> None:
    monkeypatch.setattr(library_cache, "MOST", 3)
    cache.mkdir(parents=True, mode=0o700)
    for number in range(4):
        (cache / f"{number}.so").touch()
        os.utime(cache / f"{number}.so", (number, number))
    (cache / "build-left").mkdir()
    (cache / "build-left" / "net.c").touch()
    os.utime(cache / "build-left", (1, 1))
    forward()
    kept = {path.name for path in cache.iterdir()}
    assert {"2.so", "3.so"} < kept
    assert len(kept) == 3


def test_two_processes_may_compile_at_once(cache) -> None:
    program = (
        "import netspec, numpy; net = netspec.loads('''" + SMALLEST + "''')\n"
        "print(net.compile('c', seed=1).forward(numpy.ones((1, 4))))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = {process.communicate()[0] for process in started}
    assert [process.returncode for process in started] == [0, 0]
    assert len(said) == 1
    assert [path.suffix for path in cache.iterdir()] == [".so"]


# ------------------------------------------------------------------------------------ what is missing


@pytest.mark.parametrize("training", [False, True])
def test_every_layer_without_c_is_told_before_anything_is_compiled(training) -> None:
    with fails("compile/no-c") as found:
        require_c(netspec.loads(SCAN).graph, training=training)
    assert [each.span.line for each in found.value.diagnostics] == [9, 10]


def test_without_a_compiler_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(c_compiler.shutil, "which", lambda _: None)
    monkeypatch.setattr(c_compiler.importlib.util, "find_spec", lambda _: None)
    with fails("compile/no-compiler") as found:
        netspec.loads(SMALLEST).compile("c")
    assert "netspec-dsl[native]" in str(found.value)


@pytest.mark.parametrize("named", ["no-such-compiler", "'", "false"])
def test_what_cc_names_must_be_a_compiler(monkeypatch, named) -> None:
    monkeypatch.setenv("CC", named)
    with fails("compile/no-compiler"):
        forward()


def test_a_compiler_that_refuses_is_an_error_with_its_words(cache, monkeypatch) -> None:
    monkeypatch.setenv("CFLAGS", "-include no_such_header.h -I.")
    with fails("compile/no-compiler"):  # even the question after its version fails
        forward()
    monkeypatch.setenv("CFLAGS", "-Wl,--no-such-option")
    with fails("compile/c-failed"):
        forward()
    assert not [*cache.iterdir()]


@pytest.mark.parametrize(
    ("ends", "by"),
    [
        ("kill -KILL $$", "Killed"),
        ("kill -SEGV $$", "Segmentation fault"),
        ("echo 'gcc: fatal error: Killed signal terminated program cc1' >&2; exit 1", "Killed"),
        ("echo 'error: unable to execute command: Killed' >&2; exit 254", "Killed"),
    ],
)
@pytest.mark.parametrize("asked", [False, True])
def test_a_compiler_that_is_killed_has_refused_nothing(
    cache, tmp_path, monkeypatch, ends: str, by: str, asked: bool
) -> None:
    real = c_compiler.require_compiler()[0]
    script = tmp_path / "compiler"
    passed = "" if asked and "kill" in ends else f'case "$*" in *-dM*) exec {real} "$@" ;; esac\n'
    script.write_text(f"#!/bin/sh\n{passed}{ends}\n")
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    with pytest.raises(netspec.NetspecError, match=f"the C compiler was killed: {by}") as raised:
        forward()
    assert raised.value.diagnostics[0].code == "compile/c-failed"
    assert not cache.exists() or not [*cache.iterdir()]


def test_clang_computes_the_same(cache, monkeypatch) -> None:
    if c_compiler.shutil.which("clang") is None:
        pytest.skip("there is no clang")
    monkeypatch.setenv("CC", "clang")
    test_numbers_are_those_of_the_numpy_model("small")
    assert "clang" in c_compiler.this_compiler().version.lower()
