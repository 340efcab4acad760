"""The file of `compile --standalone` needs only NumPy, and computes what the model computes."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import json
import keyword
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.compiler.passes.layer_limit import MAX_STANDALONE
from netspec.export import assemble, call_lists, programs, source_units, standalone_source
from netspec.export.programs import make_programs
from netspec.export.weights_file import read_tensors, write_tensors
from netspec.runtime.data.input_normalization import Normalization, Normalizations
from netspec.runtime.weights.safetensors_file import save_weights
from netspec.runtime.weights.weights_file import load_weights
from netspec.testing.op_examples import agreement
from netspec.text.python_tree import parse_python
from tests.conftest import ROOT, Run

# First everything but NumPy and the standard library is made unimportable.
BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("netspec", "numexpr", "scipy", "threadpoolctl", "sklearn",
                                      "safetensors", "torch", "networkx", "lark"):
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Block())
sys.path.insert(0, ".")
"""

NETS = {
    "lenet": netspec.load(ROOT / "networks/lenet.net"),
    "threelayer": netspec.load(ROOT / "networks/threelayer.net", filters=4, hidden=8),
    "resnet": netspec.load(ROOT / "networks/resnet.net", depth=8, width=4),
    "gelu": netspec.loads(
        "net Gelu { input x: [6]\n output x -> linear(5) -> gelu -> layer_norm -> linear(3) }"
    ),
    "viewed": netspec.loads(
        "net Viewed {\n input x: [6]\n output x -> linear(12) -> reshape([3, 4])"
        " -> prelu(per_channel = true) -> mish -> scale -> flatten -> linear(5)\n}"
    ),
    "declared": netspec.loads(
        "net Declared {\n input x: [4, 3, 2]\n parameter w: [4, 3, 2] = normal(1)\n"
        " parameter b: [1, 5] = ones\n buffer s: [5] = [1, 2, 3, 4, 5]\n"
        " output flatten(x * w) -> linear(5) -> add(b) -> mul(s)\n}"
    ),
    "dropout": netspec.loads(
        "net Dropped {\n input image: [2, 6, 6]\n y = image -> conv(4, 3, bias = false)"
        " -> batch_norm -> silu -> dropout(0.3)\n y = y + y * noise(y)\n"
        " output y -> flatten -> linear(6) -> batch_norm -> relu -> linear(4)\n}"
    ),
}  # fmt: skip


def run_alone(code: str, folder: Path) -> str:
    """Run code in a fresh interpreter that can only import NumPy and the standard library."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", BLOCK + code],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def batch_of(net: netspec.Net, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    shape = next(iter(net.graph.inputs.values()))
    classes = net.graph.shape_of(net.graph.outputs["output"])[0]
    return rng.standard_normal((count, *shape)).astype("f4"), rng.integers(0, classes, count)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with every net's file for training and for inference."""
    folder = tmp_path_factory.mktemp("standalone")
    for name, net in NETS.items():
        (folder / f"{name}.py").write_text(standalone_source(net.graph), "utf-8")
        text = standalone_source(net.graph, training=False)
        (folder / f"{name}_infer.py").write_text(text, "utf-8")
    return folder


@pytest.mark.parametrize("name", NETS)
def test_losses_gradients_and_outputs_are_the_models(name: str, files: Path) -> None:
    net = NETS[name]
    model = net.compile("numpy", seed=4)
    x, y = batch_of(net, 5)
    np.savez(files / f"{name}_batch.npz", x=x, y=y)
    cls = net.name
    out = run_alone(
        f"""
import numpy as np
from {name} import {cls}
batch = np.load("{name}_batch.npz")
net = {cls}(seed=4)
first = net.forward(batch["x"])
loss, gradients = net.loss_and_grads(batch["x"], batch["y"])
np.savez("{name}_found.npz", loss=loss, first=first, later=net.forward(batch["x"]), **gradients)
net.save_weights("{name}.safetensors")
print(sorted(m for m in sys.modules if m in ("netspec", "numexpr", "scipy")))
""",
        files,
    )
    assert out.strip() == "[]"
    found = dict(np.load(files / f"{name}_found.npz"))
    assert agreement(model.forward(x), found.pop("first")) <= 1e-5
    loss, gradients = model.loss_and_grads(x, y)
    assert abs(loss - float(found.pop("loss"))) <= 1e-5
    later = found.pop("later")
    assert agreement(model.forward(x), later) <= 1e-5  # with moved running statistics
    assert set(found) == set(gradients)
    for key, value in gradients.items():
        assert agreement(value, found[key]) <= 1e-5, key

    model.load_state_dict(load_weights(files / f"{name}.safetensors").tensors)
    run_alone(
        f"""
import numpy as np
from {name}_infer import {cls}
x = np.load("{name}_batch.npz")["x"]
net = {cls}()
net.load_weights("{name}.safetensors")
assert not hasattr(net, "loss_and_grads")
np.save("{name}_inferred.npy", net.forward(x))
""",
        files,
    )
    assert agreement(model.forward(x), np.load(files / f"{name}_inferred.npy")) <= 1e-5


def test_a_file_trains_and_predicts_with_the_normalization_of_its_weights(files: Path) -> None:
    x, y = batch_of(NETS["lenet"], 16)
    images = (x * 50 + 100).astype(np.uint8)
    normalization = Normalization.fit("channel", images)
    model = NETS["lenet"].compile("numpy", seed=1)
    save_weights(files / "start.safetensors", model.state_dict(), normalization, {"by": "a test"})
    np.savez(files / "images.npz", x=images, y=y)
    out = run_alone(
        """
import numpy as np
from lenet import LeNet
data = np.load("images.npz")
net = LeNet(seed=9)
net.load_weights("start.safetensors")
mean, scale = net.normalization
x = (data["x"].astype("f4") - mean) / scale
losses = [net.train_step(x, data["y"], lr=0.1) for _ in range(100)]
net.save_weights("trained.safetensors")
print(losses[0], losses[-1], (net.predict(data["x"]) == data["y"]).mean())
""",
        files,
    )
    first, last, accuracy = map(float, out.split())
    assert first > 2 > 0.1 > last
    assert accuracy == 1.0
    trained = load_weights(files / "trained.safetensors")
    assert trained.normalization is not None
    model.load_state_dict(trained.tensors)
    scores = model.forward(trained.normalization.apply(images, "float32"))
    assert (scores.argmax(1) == y).all()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("training", [True, False])
def test_a_file_is_clean_and_the_same_every_time(name: str, training: bool, files: Path) -> None:
    path = files / f"{name}{'' if training else '_infer'}.py"
    text = path.read_text("utf-8")
    assert text == standalone_source(NETS[name].graph, training=training)
    assert "import netspec" not in text
    assert "from netspec" not in text
    found = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--config", ROOT / "pyproject.toml", path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "No module named" not in found.stderr:
        assert found.returncode == 0, found.stdout


def test_inference_has_no_batch_norm_left_and_no_dropout(files: Path) -> None:
    text = (files / "dropout_infer.py").read_text("utf-8")
    forward = text.partition("def evaluation_forward")[2].partition("def ")[0]
    assert "conv_forward" in forward
    assert "norm" not in forward.replace("batch_norm1", "").replace("batch_norm2", "")
    assert "fold_into(" in text.partition("def preparation_forward")[2]
    assert "sample_mask" not in text


HEADER = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'


@pytest.mark.parametrize(
    "content",
    [
        b"", b"short", b"\xff" * 16, b"\x02\0\0\0\0\0\0\0[]", b"\x04\0\0\0\0\0\0\0null",
        (2).to_bytes(8, "little") + b"{",
        len(HEADER).to_bytes(8, "little") + HEADER + b"1234",
        len(HEADER).to_bytes(8, "little") + HEADER + b"1234567890",
        *(
            len(changed).to_bytes(8, "little") + changed + b"12345678"
            for old, new in (
                (b"[0,8]", b"[0,9]"), (b"[0,8]", b"[4,8]"), (b"[0,8]", b"[-8,0]"), (b"[2]", b"[-2]"),
                (b"[2]", b"[2.0]"), (b"[2]", b"[true]"), (b"[2]", b"[99999999999999999999]"),
                (b"F32", b"BF16"), (b'"F32"', b"[1]"), (b"[2]", b"2"), (b'"shape"', b'"form"'),
                (b"[0,8]", b"[0]"), (b"[0,8]", b"8"), (b"F32", b"object"),
            )
            for changed in [HEADER.replace(old, new)]
        ),
        b"\x80\x02}q\x00." + b"x" * 20,
        (90_000).to_bytes(8, "little") + b"[" * 90_000,
    ],
)  # fmt: skip
def test_a_bad_weights_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.safetensors"):
        read_tensors(path)


def test_weights_files_are_safetensors(tmp_path: Path) -> None:
    tensors = {
        "a.weight": np.arange(6, dtype="f4").reshape(2, 3), "n": np.array(3), "none": np.zeros((0, 2))
    }  # fmt: skip
    write_tensors(tmp_path / "a.safetensors", tensors, {"k": "v"})
    theirs = load_weights(tmp_path / "a.safetensors")
    assert theirs.metadata == {"k": "v"}
    save_weights(tmp_path / "b.safetensors", tensors)
    ours, _ = read_tensors(tmp_path / "b.safetensors")
    for found in (theirs.tensors, ours, read_tensors(tmp_path / "a.safetensors")[0]):
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert found[name].dtype == tensor.dtype
            np.testing.assert_array_equal(found[name], tensor)


def test_a_net_without_such_a_form_is_refused(run: Run, write) -> None:
    open_size = write("net A { input x: [3, H, W]\n output x -> conv(2, 3) }")
    assert (
        "compile/standalone" in run("compile", open_size, "--target", "numpy", "--standalone").err
    )
    two = "net A { input x: [3, 8, 8]\n output a = x -> conv(2, 3)\n output b = x -> conv(2, 1) }"
    pictures = write(two)
    found = run("compile", pictures, "--target", "numpy", "--standalone")
    assert found.code == 1
    assert "--inference" in found.err
    found = run("compile", pictures, "--target", "numpy", "--standalone", "--inference")
    assert found.code == 0


# ------------------------------------------------------------------------------ what it knows, and says


def test_class_names_and_probabilities(files: Path) -> None:
    names = [f"class {i}" for i in range(10)]
    about = {"class_names": json.dumps(names), "image_type": "uint8", "by": "a test"}
    model = NETS["lenet"].compile("numpy", seed=1)
    save_weights(files / "named.safetensors", model.state_dict(), None, about)
    x, _ = batch_of(NETS["lenet"], 5)
    np.save(files / "named.npy", x)
    out = run_alone(
        """
import numpy as np
from lenet import LeNet
import lenet_infer
x = np.load("named.npy")
net = LeNet()
assert net.class_names == ()
net.load_weights("named.safetensors")
p = net.predict_proba(x)
e = np.exp(net.forward(x) - net.forward(x).max(1, keepdims=True))
assert np.abs(p - e / e.sum(1, keepdims=True)).max() < 1e-6
assert (p.argmax(1) == net.predict(x)).all()
net.save_weights("again.safetensors")
other = lenet_infer.LeNet()
other.load_weights("again.safetensors")
assert np.abs(other.predict_proba(x) - p).max() < 1e-5
print(other.class_names[3])
""",
        files,
    )
    assert out == "class 3\n"
    assert load_weights(files / "again.safetensors").metadata == about


@pytest.mark.parametrize("damaged", ['{"metadata": {"class_names": "[1]"}}', '{"metadata": 3}'])
def test_damaged_metadata_are_refused(damaged: str, files: Path, tmp_path: Path) -> None:
    model = NETS["lenet"].compile("numpy")
    write_tensors(tmp_path / "bad.safetensors", model.state_dict(), {"netspec": damaged})
    namespace = loaded(files / "lenet_infer.py")
    with pytest.raises(ValueError, match="metadata are damaged"):
        namespace["LeNet"]().load_weights(tmp_path / "bad.safetensors")


def loaded(path: Path) -> dict[str, Any]:
    """Run a file in this process as a module of its own, and return what it defines."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    del sys.modules[path.stem]
    return vars(module)


@pytest.mark.parametrize(
    ("before", "environment", "said"),
    [
        ("", {}, "4"),
        ("import numpy", {}, "1"),
        ("import numpy", {"OPENBLAS_NUM_THREADS": "1"}, "4"),
        ("import numpy", {"NETSPEC_NUM_THREADS": "3"}, "3 warned"),
        ("", {"NETSPEC_NUM_THREADS": "3"}, "3"),
    ],
)
@pytest.mark.parametrize("asks", [False, True])
def test_threads_work_or_it_is_said_that_they_do_not(
    files: Path, before: str, environment: dict[str, str], said: str, asks: bool
) -> None:
    code = f"""
import sys, warnings
sys.path.insert(0, ".")
{before}
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    import threelayer
    threelayer.available = lambda: 4
    if {asks}:
        threelayer.use_threads(2)
    print(threelayer.parallel_threads(), *(["warned"] if found else []))
"""
    inherited = {n: v for n, v in os.environ.items() if not n.endswith("_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=files, env={**inherited, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded_first = bool(before) and "OPENBLAS_NUM_THREADS" not in environment
    expected = ("2 warned" if loaded_first else "2") if asks else said
    assert done.stdout.split() == expected.split()


def names_in_a_file() -> list[str]:
    """Return all names in a standalone file that a net could have, which are those with a capital."""
    tree = ast.parse(standalone_source(NETS["dropout"].graph))
    found = {*dir(builtins), *keyword.kwlist, "Mapping", "Path", "ConvPlanPlan"}
    for node in ast.walk(tree):
        for field in ("id", "name", "arg"):
            name = getattr(node, field, None)
            found |= {name} if isinstance(name, str) else set()
    return sorted(name for name in found if name[:1].isupper() and name.isidentifier())


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.heavy)])
def test_a_net_may_have_any_name(tmp_path: Path, every: int) -> None:
    names = names_in_a_file()
    always = {"None", "Mapping", "Path", "ValueError", "Network", "Any", "ConvPlanPlan"}
    assert always <= set(names)
    for name in sorted(always | set(names[::every])):
        net = netspec.loads(
            f"net {name} {{ input x: [2, 4, 4]\n output x -> conv(2, 1) -> flatten -> linear(3) }}"
        )
        path = tmp_path / f"net_{name}.py"
        path.write_text(standalone_source(net.graph), "utf-8")
        made = loaded(path)
        network = next(
            made[n]
            for n in (name, f"{name}_", f"{name}__")
            if n in made and hasattr(made[n], "drawn")
        )
        x, y = np.ones((2, 2, 4, 4), np.float32), np.array([0, 2])
        one = network()
        one.train_step({"x": x}, y)
        one.save_weights(tmp_path / "weights.safetensors")
        one.load_weights(tmp_path / "weights.safetensors")
        assert one.predict_proba(x).shape == (2, 3)
        with pytest.raises(builtins.ValueError):
            one.forward(x[0])


@pytest.mark.parametrize(
    "odd",
    [
        lambda x: x.astype(str), lambda x: x.astype(complex), lambda x: None,
        lambda x: np.zeros(x.shape, [("a", "f4")]), lambda x: np.full(x.shape, None),
    ],
)  # fmt: skip
def test_what_holds_no_numbers_is_refused_by_a_file(odd: Any, tmp_path: Path) -> None:
    """NumPy would read texts as numbers, and drop imaginary parts."""
    net = netspec.loads("net Odd() {\n input x: [3]\n output x -> linear(2)\n}")
    path = tmp_path / "odd.py"
    path.write_text(standalone_source(net.graph), "utf-8")
    made = loaded(path)["Odd"]()
    x = np.ones((2, 3))
    for call in (made.forward, made.predict):
        with pytest.raises(ValueError, match="must hold numbers"):
            call(odd(x))
    assert made.forward(x.tolist()).shape == (2, 2)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_lists_of_calls_are_read_as_by_pythons_parser(monkeypatch, name, training):
    monkeypatch.setattr(call_lists, "_LONG", 0)
    skipped = []

    def compared(module, text):
        parsed, found = source_units.read(module, text), call_lists.read_program(module, text)
        for each, unit in parsed.units.items():
            source_units.resolve(parsed, unit)
            other = found.units[each]
            assert (other.text, other.imports, other.local) == (unit.text, unit.imports, unit.local)
            assert set(other.uses) == set(unit.uses)
        skipped.extend(call_lists._only_calls(unit.text) for unit in parsed.units.values())
        return found

    monkeypatch.setattr(programs, "read_program", compared)
    standalone_source(NETS[name].graph, training=training)
    assert any(skipped)


def test_a_long_list_of_calls_is_not_parsed(monkeypatch):
    lines = "    x = x -> linear(6)\n" * 200
    net = netspec.loads(f"net Deep {{\n    input x: [6]\n{lines}    output x\n}}")
    longest = 0

    def counted(text):
        nonlocal longest
        if "made by netspec from" in text:
            longest = max(longest, len(text))
        return parse_python(text)

    monkeypatch.setattr(source_units, "parse_python", counted)
    assert longest < 10_000 < len(standalone_source(net.graph))


def test_a_standalone_file_is_made_of_few_layers():
    lines = f"for i in range({MAX_STANDALONE + 1}) {{ x = x -> relu }}"
    net = netspec.loads(f"net Deep {{\n    input x: [6]\n    {lines}\n    output x\n}}")
    with pytest.raises(netspec.NetspecError) as refused:
        standalone_source(net.graph)
    assert [d.code for d in refused.value.diagnostics] == ["limit/layers"]


@pytest.mark.parametrize("name", ["lenet", "dropout"])
def test_generated_programs_are_parsed_once_and_their_trees_are_dropped(monkeypatch, name):
    """A net of 64 KB has a program of a megabyte, whose syntax tree takes 100 MB."""
    parsed, programs = [], []

    def counted(text):
        parsed.append(text)
        return parse_python(text)

    def kept(*arguments, **options):
        programs.append(make_programs(*arguments, **options))
        return programs[-1]

    monkeypatch.setattr(source_units, "parse_python", counted)
    monkeypatch.setattr(assemble, "make_programs", kept)
    standalone_source(NETS[name].graph)
    generated = [text for text in parsed if "made by netspec from" in text]
    assert len(generated) == len(programs[0].modules)
    units = [unit for made in programs[0].modules.values() for unit in made.units.values()]
    assert units
    assert not any(unit.unread for unit in units)


def test_modules_that_no_unit_needs_are_not_parsed(monkeypatch):
    """A net of three lines took half a second, most of it for what its file does not have."""
    parsed = []

    def counted(text):
        parsed.append(text)
        return parse_python(text)

    monkeypatch.setattr(source_units, "parse_python", counted)
    source_units.module.cache_clear()
    text = standalone_source(NETS["lenet"].graph)
    assert len(parsed) < 2 * text.count("\n# ----")


def test_a_file_without_weights_says_so_once(files: Path) -> None:
    out = run_alone(
        """
import warnings
import numpy as np
from lenet import LeNet
net = LeNet()
x = np.zeros((1, 1, 28, 28))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    net.predict(x)
    net.predict_proba(x)
    trained = LeNet()
    trained.train_step(x, np.zeros(1, int))
    trained.predict(x)
print([str(each.message) for each in told])
""",
        files,
    )
    message = "no weights were loaded, so all answers are chance: call load_weights first"
    assert out.strip() == str([message])


@pytest.mark.parametrize("training", [False, True])
def test_probabilities_are_no_softmax_of_probabilities(training: bool, tmp_path: Path) -> None:
    text = "net Shares {\n input x: [3]\n output x -> linear(4)%s\n}"
    x = np.random.default_rng(0).normal(size=(5, 3))
    found = {}
    for end in ("", " -> softmax", " -> log_softmax"):
        path = tmp_path / "shares.py"
        net = netspec.loads(text % end)
        path.write_text(standalone_source(net.graph, training=training), "utf-8")
        made = loaded(path)["Shares"]()
        with pytest.warns(UserWarning, match="no weights"):
            found[end] = made.predict_proba(x)
        if end == " -> softmax":
            np.testing.assert_array_equal(found[end], made.forward(x))
    for shares in found.values():
        np.testing.assert_allclose(shares, found[""], atol=1e-6)


def test_a_file_of_two_inputs_predicts_and_normalizes_each(tmp_path: Path) -> None:
    net = netspec.loads(
        "net Pair {\n input a: [3]\n input b: [2]\n output concat(a, b) -> linear(4)\n}"
    )
    path, weights = tmp_path / "pair.py", tmp_path / "pair.safetensors"
    path.write_text(standalone_source(net.graph), "utf-8")
    rng = np.random.default_rng(0)
    given = {"a": rng.normal(3, 2, (6, 3)), "b": rng.normal(size=(6, 2))}
    by_input = Normalizations(
        {"a": Normalization.fit("channel", given["a"]), "b": Normalization.fit("none", given["b"])}
    )
    model = net.compile("numpy")
    netspec.save_weights(weights, model.state_dict(), by_input)
    made = loaded(path)["Pair"]()
    made.load_weights(weights)
    scores = model.forward({"a": by_input.inputs["a"].apply(given["a"], "f4"), "b": given["b"]})
    np.testing.assert_array_equal(made.predict(given), scores.argmax(1))
    np.testing.assert_allclose(made.predict_proba(given).sum(1), 1, rtol=1e-5)
    made.save_weights(weights)
    again = loaded(path)["Pair"]()
    again.load_weights(weights)
    np.testing.assert_array_equal(again.predict_proba(given), made.predict_proba(given))
    assert netspec.load_weights(weights).normalization.inputs.keys() == {"a", "b"}
    with pytest.raises(ValueError, match="the inputs are a, b"):
        made.predict({"a": given["a"]})


def test_a_file_tells_stored_pixels_from_normalised_ones(tmp_path: Path) -> None:
    net = netspec.loads("net A { input image: [1, 4, 4]\n output image -> flatten -> linear(3) }")
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 4, 4), np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2])
    model = net.compile("numpy")
    netspec.fit(model, netspec.Dataset("a", images, labels, images, labels, 3), epochs=1)
    path, weights = tmp_path / "a.py", tmp_path / "a.safetensors"
    path.write_text(standalone_source(net.graph), "utf-8")
    known = model.trained_on
    netspec.save_weights(weights, model.state_dict(), known.normalization, known.about)
    made = loaded(path)["A"]()
    made.load_weights(weights)
    (x,) = made.normalized(images).values()
    np.testing.assert_array_equal(x, known.normalization.apply(images, "f4"))
    wanted, _ = model.loss_and_grads(x, labels)
    assert made.loss_and_grads(x, labels)[0] == pytest.approx(wanted)
    for train in (made.train_step, made.loss_and_grads):
        with pytest.raises(ValueError, match=r"train with net\.normalized\(x\)"):
            train(images, labels)
    with pytest.warns(UserWarning, match="forward takes") as told:
        made.forward(images)
    assert told[0].filename == __file__
    again = loaded(path)["A"]()
    again.load_weights(weights)
    with pytest.warns(UserWarning, match="lie between 0 and 1") as told:
        _ = [again.predict(images / 255) for _ in range(2)]
    assert [each.filename for each in told] == [__file__]
    for shape in ((4, 4), (1, 16), (2, 3, 4, 4)):
        for call in (again.predict, again.predict_proba, again.normalized):
            with pytest.raises(ValueError, match=r"image must be \[N, 1, 4, 4\], not \["):
                call(np.zeros(shape))
