"""Ops of one's own: files of ops, which run only where somebody allowed it, and installed packages."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.ir.op import REGISTERED
from netspec.compiler.ops import registry
from netspec.compiler.parse import op_files
from tests.conftest import ROOT, Run, Write
from tests.helpers.errors import fails

SWOOSH = ROOT / "docs/my_ops.py"
NET = """
    use "my_ops.py"
    net A {
        input x: [2, 6, 6]
        output x -> conv(4, 3) -> swoosh(2) -> flatten -> linear(3)
    }
    """
OP = """
    from netspec.compiler.ir.contract import *

    {before}

    @register
    class Twice(ElementwiseOp):
        \"\"\"Twice a number: y = 2 x.\"\"\"

        name = "{name}"
        torch_function = "torch.mul"
        examples = (Example("{name}", ((3, 4, 5),)),)

        def value(self, *x):
            return 2 * x[0]

        def derivatives(self, y, *x):
            return ({slope},)

        def torch(self, *inputs):
            return Torch("torch.mul", (X(0), 2.0))
    """


@pytest.fixture
def written(write: Write) -> Path:
    """A net that uses an op of one's own, whose file lies beside it."""
    shutil.copy(SWOOSH, write(NET).parent / "my_ops.py")
    return write(NET)


def op_file(write: Write, name: str = "my_ops.py", op: str = "twice", **parts: object) -> Path:
    return write(OP.format(**{"name": op, "before": "", "slope": "Const(2.0)", **parts}), name)


def codes(error: pytest.ExceptionInfo[netspec.NetspecError]) -> list[str]:
    return [str(each.code) for each in error.value.diagnostics]


def test_a_file_alone_runs_no_code(written, write, run: Run):
    trap = write(f"open({str(written.parent / 'ran')!r}, 'w')\n", "my_ops.py")
    for verb in (
        ["check"], ["check", "--fix"], ["summarize"], ["compile", "--target", "torch"], ["verify"],
        ["gradcheck"], ["fmt", "--check"], ["doctor"], ["diff", written], ["bench"],
        ["compile", "--target", "numpy", "--standalone"],
    ):  # fmt: skip
        done = run(verb[0], written, *verb[1:])
        assert verb[0] == "fmt" or "use/not-allowed" in done.err, done
        assert "unknown-layer" not in done.err, "its names may be those of the file's ops"
    with pytest.raises(netspec.NetspecError, match=r"--ops my_ops\.py"):
        netspec.load(written)
    assert not (written.parent / "ran").exists()
    done = run("check", written, "--ops", trap)
    assert "defines no op" in done.err
    assert (written.parent / "ran").exists()


def test_every_program_has_the_op(written, run: Run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    allowed = ("--ops", "my_ops.py")
    assert run("check", written, "--strict", *allowed).code == 0
    assert "swoosh(slope = 2.0)" in run("summarize", written, *allowed).out
    assert run("gradcheck", written, *allowed, "--backend", "numpy").code == 0
    assert run("verify", written, *allowed, "--steps", "1", "--no-torch").code == 0
    to_file = ("--target", "numpy", "--standalone", "-o", "alone.py")
    assert run("compile", written, *to_file, *allowed).code == 0
    x = np.random.default_rng(0).standard_normal((2, 2, 6, 6)).astype(np.float32)
    np.save("x.npy", x)
    code = (
        "import sys\n"
        "sys.modules['netspec'] = None\n"
        "import alone, numpy\n"
        "print(alone.A(seed=0).forward(numpy.load('x.npy')).tolist())\n"
    )
    alone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = netspec.load(written).compile("numpy", seed=0).forward(x)
    np.testing.assert_allclose(np.array(json.loads(alone.stdout)), expected, atol=1e-6)


def test_the_generated_module_has_the_op(written):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    netspec.load_ops(written.parent / "my_ops.py")
    net = netspec.load(written)
    x = np.random.default_rng(0).standard_normal((2, 2, 6, 6)).astype(np.float32)
    ours = net.compile("numpy", seed=0).forward(x)
    theirs = net.compile("torch", seed=0).forward(x)
    np.testing.assert_allclose(theirs, ours, atol=1e-6)
    assert "torch.sigmoid" in net.source("torch")


def test_it_is_netspecs_own_op_nowhere(written):
    """Not in the registry, and not in files that do not use it."""
    before = list(registry())
    netspec.load_ops(written.parent / "my_ops.py")
    netspec.load(written)
    assert list(registry()) == before
    assert "swoosh" not in REGISTERED
    with pytest.raises(netspec.NetspecError) as error:
        netspec.loads("net A { input x: [4]\n output x -> swoosh }")
    assert codes(error) == ["name/unknown-layer"]
    assert 'use "my_ops.py"' in str(error.value)


def test_an_imported_file_has_the_ops_that_it_uses_itself(write):
    netspec.load_ops(op_file(write))
    write('use "my_ops.py"\nblock B x { return x -> twice }\n', "b.net")
    main = write('from "b.net" import B\nnet A { input x: [4]\n output x -> B }\n', "a.net")
    assert [str(node.op) for node in netspec.load(main).graph.nodes] == ["twice"]
    main = write(
        'from "b.net" import B\nnet A { input x: [4]\n output x -> B -> twice }\n', "a.net"
    )
    with pytest.raises(netspec.NetspecError) as error:
        netspec.load(main)
    assert codes(error) == ["name/unknown-layer"]


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("x = = 1", "SyntaxError", 1),
        ("import math\n\n\ndef f():\n    return 1 / 0\n\n\nf()\n", "ZeroDivisionError", 5),
        ("import sys\nsys.exit(3)\n", "SystemExit", 2),
        ("from nowhere import thing\n", "No module named 'nowhere'", 1),
        ("", "defines no op", None),
        (OP.format(name="relu", before="", slope="2"), "like one of netspec's own", None),
        (OP.format(name="input", before="", slope="2"), "a keyword of the language", None),
        (OP.format(name="Twice", before="", slope="2"), "needs a `name` of small letters", None),
        (OP.format(name="twice", before="", slope="2").replace("def value", "def vlaue"),
         "did you mean `value`", 6),
    ],
)  # fmt: skip
def test_a_file_that_fails_says_where(write, run: Run, text, message, line):
    path = write(text, "broken.py")
    done = run("check", write("net A { input x: [4]\n output x }"), "--ops", path)
    assert done.code == 1
    assert "error[use/file]" in done.err
    assert message in done.err
    if line is not None:
        assert f"broken.py:{line}:" in done.err


def test_a_file_runs_once_and_again_when_it_changes(write):
    before = "import pathlib; pathlib.Path(__file__).with_name('runs').open('a').write('x')"
    path = op_file(write, before=before)
    for _ in range(3):
        assert netspec.load_ops(path) == ("twice",)
    assert path.with_name("runs").read_text() == "x"
    op_file(write, before=before, op="dbl")  # in the same second, of another content
    assert netspec.load_ops(path) == ("dbl",)
    assert path.with_name("runs").read_text() == "xx"


def test_two_files_of_one_name(write):
    netspec.load_ops(op_file(write, "a/my_ops.py"))
    with pytest.raises(netspec.NetspecError, match=r"another file `my_ops\.py`"):
        netspec.load_ops(op_file(write, "b/my_ops.py"))


def test_threads_that_load_one_file(write):
    path = op_file(write, before="import time; time.sleep(0.05)")
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(op_files.load_ops(path).ops["twice"]))
        for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1


def test_a_model_is_pickled_for_processes_that_load_the_ops(written):
    path = written.parent / "my_ops.py"
    netspec.load_ops(path)
    model = netspec.load(written).compile("numpy", seed=0)
    x = np.random.default_rng(0).standard_normal((1, 2, 6, 6)).astype(np.float32)
    np.save(written.parent / "x.npy", x)
    (written.parent / "model").write_bytes(pickle.dumps(model))
    code = f"""
        import pickle, netspec, numpy as np
        netspec.load_ops({str(path)!r})
        model = pickle.loads(open("model", "rb").read())
        print(model.forward(np.load("x.npy")).tolist())
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True,
        cwd=written.parent, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    np.testing.assert_array_equal(np.array(json.loads(done.stdout)), model.forward(x))


@pytest.fixture
def installed(write: Write, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed package that declares ops as `my-ops`."""
    op_file(write, "site/my_package/ops.py")
    write("", "site/my_package/__init__.py")
    about = "Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n"
    write(about, "site/my_package-1.0.dist-info/METADATA")
    declared = "[netspec.ops]\nmy-ops = my_package.ops\nbroken = my_package.nothing\n"
    folder = write(declared, "site/my_package-1.0.dist-info/entry_points.txt").parents[1]
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "my_package.ops", raising=False)
    return "my-ops"


def test_an_installed_package(installed, write, run: Run):
    path = write('use "my-ops"\nnet A { input x: [4]\n output x -> twice }')
    done = run("check", path)
    assert done.code == 0, done.err
    assert run("test-op", installed).out.endswith("all checks hold\n")
    done = run("check", write('use "my-opps"\nnet A { input x: [4]\n output x -> twice }'))
    assert "no installed package declares ops as `my-opps`" in done.err
    assert "did you mean `my-ops`?" in done.err
    done = run("check", write('use "broken"\nnet A { input x: [4]\n output x -> twice }'))
    assert "the installed package of ops `broken` fails: ModuleNotFoundError" in done.err


@pytest.mark.parametrize("name", ["o{}.py", "my-op{}"])
def test_packages_are_looked_for_once_however_many_files_use_some(
    name: str, installed: str, write: Write, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    real = importlib.metadata.entry_points
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda **kind: looked.append(kind) or real(**kind)
    )
    uses = "".join(f'use "{name.format(i)}"\n' for i in range(300))
    write(f"{uses}block B x {{ return x -> relu }}", "b.net")
    done = run(
        "check", write(f'{uses}from "b.net" import B\nnet A {{ input x: [4]\n output x -> B }}')
    )
    assert len(looked) <= 10  # once, and once in each trial of a hint
    assert done.code == 1
    assert done.err.count("error[use/n") == 2 * 200
    assert done.err.count("error[limit/files]: a file uses at most 200 files of ops") == 2


def test_test_op_finds_what_is_wrong(write, run: Run):
    done = run("test-op", op_file(write, slope="Const(3.0)"))
    assert done.code == 1
    assert "FAILED  the gradient is the slope: 0 of 2" in done.out
    assert "ok      the program in float32: 2 of 2" in done.out
    faint = OP.replace("2 * x[0]", "1e-7 * x[0]").replace("2.0", "1e-7")
    path = write(faint.format(before="", name="faint", slope="Const(3e-7)"), "faint.py")
    done = run("test-op", path)
    assert "FAILED  the gradient is the slope: 0 of 2" in done.out  # though closer than 1e-6
    path = write(faint.format(before="", name="faint", slope="Const(1e-7)"), "faint.py")
    assert run("test-op", path).code == 0
    done = run("test-op", op_file(write, "other.py"), "--op", "swish")
    assert done.code == 1
    assert "it has twice" in done.err


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("derivatives(self, y, *x): return (x[0] * 2)",
         "`derivatives` must return a tuple, one formula for each input and parameter: 1 here, not a"
         " formula alone (is a comma missing, as in `(a,)`?)"),
        ("derivatives(self, y, *x): return x[0], x[0]", "1 here, not a tuple of 2"),
        ("derivatives(self, y, *x): return ('a',)", "not a tuple with str in it"),
        ("derivatives(self, y, *x): pass", "not a NoneType"),
        ("value(self, *x): return (x[0],)", "`value` must return a formula, not a tuple of 1"),
    ],
)  # fmt: skip
def test_test_op_says_what_is_no_formula(method: str, said: str, write, run: Run):
    path = op_file(write)
    with path.open("a") as file:
        file.write(f"\n    def {method}\n")
    done = run("test-op", path)
    assert done.code == 1
    assert said in done.out
    assert done.out.count("TypeError") == 1, done.out
    assert done.out.endswith("1 check failed\n")


# An op that has no form in PyTorch, and a parameter.
PLAIN = """
    from netspec.compiler.ir.contract import *

    @register
    class Twice(Op):
        \"\"\"Twice a number, and a learned one: y = 2 x + w.\"\"\"

        name = "twice"
        parameter_names = ("weight",)
        examples = (Example("twice", ((4,),)),)

        def parameters(self, *inputs):
            return (ParameterSpec("weight", inputs[0], Zeros(), "weight"),)

        def forward(self, run, x):
            return 2 * x + run.parameters["weight"]

        def backward(self, run, dy, x):
            run.gradients["weight"] = dy.sum(axis=0)
            return (2 * dy,)

        def lower(self, to):
            w = to.parameter_view("weight", to.x[0].shape)
            to.elementwise(to.out, 2 * Var("x") + Var("w"), x=to.x[0], w=w)

        def lower_backward(self, to):
            gradient = to.parameter_gradient("weight")
            to.call(
                "broadcast_sums.backward", None, to.dy, gradient, to.scratch, writes=[gradient],
                scratch=to.needs("broadcast_sums.scratch_size", to.out.shape), after=1,
            )
            dx = to.gradient_buffer(0)
            to.elementwise(dx, 2 * Var("dy"), dy=to.dy)
            to.gradient(0, dx)
    """


def test_a_formula_needs_no_other_form_in_pytorch(write: Write, run: Run) -> None:
    pytest.importorskip("torch")
    text = OP.partition("        def torch(")[0].replace('torch_function = "torch.mul"\n', "\n")
    text = text.format(name="twice", before="", slope="Const(2.0)")
    path = write(text.replace("2 * x[0]", "maximum(x[0], -1e9) * exp(Const(0.0)) * 2"), "my_ops.py")
    done = run("test-op", path)
    assert done.code == 0, done.out
    assert "ok      the program equals PyTorch: 2 of 2" in done.out
    net = write('use "my_ops.py"\nnet A { input x: [4]\n output x -> linear(3) -> twice }')
    done = run("compile", net, "--target", "torch", "--ops", path)
    assert "return torch.clamp(out, min=-1000000000) * 1 * 2" in done.out
    assert run("verify", net, "--ops", path).code == 0


def test_what_has_no_form_in_pytorch_says_so(write: Write, run: Run) -> None:
    pytest.importorskip("torch")
    path = write(PLAIN, "my_ops.py")
    done = run("test-op", path)
    assert done.code == 0, done.out
    assert "ok      the program equals the reference: 6 of 6" in done.out
    assert "-       the program equals PyTorch: 0 of 0 (`twice` has no form" in done.out
    net = write('use "my_ops.py"\nnet A { input x: [4]\n output x -> twice -> twice }')
    for verb in (["verify", net], ["compile", net, "--target", "torch"]):
        done = run(*verb, "--ops", path)
        assert done.code == 1
        assert done.err.count("error[compile/no-torch]") == 2
        assert "test.net:3:" in done.err
    assert run("verify", net, "--ops", path, "--no-torch").code == 0
    tied = write(
        'use "my_ops.py"\nnet A { input x: [4]\n output x -> a: twice -> twice(weight = a.weight) }'
    )
    done = run("check", tied, "--ops", path)
    assert "error[layer/tied]: the `weight` of this `twice` must be its own" in done.err


def test_an_op_that_lacks_a_member_is_refused(write: Write, run: Run) -> None:
    path = write(PLAIN.replace("def lower_backward", "def _lower_backward"), "my_ops.py")
    done = run("test-op", path)
    assert done.code == 1
    assert "error[use/file]: my_ops.py: Twice needs `lower_backward`" in done.err
    text = PLAIN.replace("(Op)", "(ElementwiseOp)").replace(
        '"twice"\n', '"twice"\n        arity = 2\n'
    )
    done = run("test-op", write(text, "b.py"))
    assert "b.py: Twice needs `derivatives`, `value`, `unequal`" in done.err


def test_an_op_that_fails_in_use_says_where(write: Write, run: Run) -> None:
    text = PLAIN.replace("return (ParameterSpec(", "return (Undefined(")
    path = write(text, "fails.py")
    line = 1 + text.splitlines().index(
        '            return (Undefined("weight", inputs[0], Zeros(), "weight"),)'
    )
    net = write('use "fails.py"\nnet A { input x: [4]\n output x -> twice }')
    done = run("check", net, "--ops", path)
    assert done.code == 1
    assert "fails.py fails: NameError: name 'Undefined' is not defined" in done.err
    assert f"fails.py:{line}:" in done.err
    assert f"fails.py:{line}:9)" in run("test-op", path).out


def test_use_is_a_name_where_it_can_be_one(run: Run, write):
    path = write(
        """
        block B(use = 2) x { return x -> use: linear(use) }
        net A {
            input use: [4]
            output use -> B(use = 3)
        }
        """
    )
    assert run("check", path).code == 0


def test_use_is_formatted(run: Run, write):
    path = write('use   "b.py"\nuse "a.py" # mine\nnet A { input x: [4]\n output x }')
    run("fmt", path)
    assert path.read_text().startswith('use "b.py"\nuse "a.py"  # mine\n\nnet A {')


@pytest.fixture
def own_ops(tmp_path: Path, monkeypatch):
    """Writes a file among netspec's own ops, which are looked for in `tmp_path` alone."""
    from netspec.compiler import ops
    from netspec.compiler.ops import _Registry

    monkeypatch.setattr(ops, "__path__", [str(tmp_path), *ops.__path__])
    before = dict(REGISTERED)

    def write_op(file: str, text: str):
        (tmp_path / file).write_text(textwrap.dedent(text))
        return _Registry()

    yield write_op
    REGISTERED.clear()
    REGISTERED.update(before)
    for name in [name for name in sys.modules if name.endswith((".snaky", ".bare", ".twice_own"))]:
        del sys.modules[name]


def test_a_file_of_netspecs_own_that_is_not_named_after_its_op_is_an_ordinary_error(
    own_ops,
) -> None:
    text = OP.format(before="", name="snake", slope="2.0")
    with fails("use/file", "compiler/ops/snaky.py registers `snake`", "call the file snake.py"):
        own_ops("snaky.py", text)["snaky"]
    with fails("use/file", "compiler/ops/bare.py registers no op"):
        own_ops("bare.py", "x = 1\n")["bare"]
    misspelt = OP.format(before="", name="twice_own", slope="2.0").replace(
        "def torch(", "def torhc("
    )
    said = "compiler/ops/twice_own.py: Twice.torhc is not a member of an op: did you mean `torch`"
    with fails("use/file", said):
        own_ops("twice_own.py", misspelt)["twice_own"]


def test_test_op_says_what_tests_netspecs_own(run: Run) -> None:
    finished = run("test-op", ROOT / "netspec/compiler/ops/relu.py")
    assert finished.code == 1
    assert "make test-op NAME=relu" in finished.err
