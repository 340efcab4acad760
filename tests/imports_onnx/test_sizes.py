"""`netspec import onnx --input`: names as files have them, and sizes that files leave open."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from tests.helpers.onnx_support import onnx

helper = onnx.helper


def saved(path: Path, name: str, axes: list[Any], *, last: bool = False, head: int = 0) -> Path:
    """Write a convolution of a picture, with a linear layer of so many numbers behind it."""
    x = helper.make_tensor_value_info(name, 1, axes)
    y = helper.make_tensor_value_info("y", 1, None)
    random = np.random.default_rng(0)
    weight = random.standard_normal((2, 3, 1, 1)).astype("f")
    held = [onnx.numpy_helper.from_array(weight, "w")]
    turn = [helper.make_node("Transpose", [name], ["t"], perm=(0, 3, 1, 2))] if last else []
    nodes = [*turn, helper.make_node("Conv", ["t" if last else name, "w"], ["c"])]
    if head:
        held.append(
            onnx.numpy_helper.from_array(random.standard_normal((head, 4)).astype("f"), "v")
        )
        nodes += [helper.make_node("Flatten", ["c"], ["f"]),
                  helper.make_node("Gemm", ["f", "v"], ["y"], name="fc")]  # fmt: skip
    else:
        nodes.append(helper.make_node("Relu", ["c"], ["y"]))
    graph = helper.make_graph(nodes, "g", [x], [y], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


NAMES = ("image", "input_1:0", "input.1", "serving/input", "my input", "a=b", "3input", "größe")


@pytest.mark.parametrize("name", NAMES)
def test_an_input_has_any_name(name: str, run: Any, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", name, ["N", 3, "h", "w"])
    finished = run("import", "onnx", path, "--input", f"{name}=3,8,9")
    assert finished.code == 0, finished.err
    assert "[3, 8, 9]" in finished.out


def test_the_command_of_the_help_works(run: Any, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", "my input:0", [None, None, None, 3], last=True)
    refused = run("import", "onnx", path)
    assert "does not say what shape `my input:0` has" in refused.err
    option = refused.err.partition("file's order: ")[2].strip()
    assert option == "--input 'my input:0=224,224,3'"
    finished = run("import", "onnx", path, *shlex.split(option.replace("224,224", "8,9")))
    assert finished.code == 0, finished.err
    assert "[3, 8, 9]" in finished.out


def test_the_only_input_needs_no_name(run: Any, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", "x.1", ["N", 3, "h", "w"])
    assert "[3, 8, 9]" in run("import", "onnx", path, "--input", "3,8,9").out
    found = netspec.from_onnx(path, (3, 8, 9))
    assert found.graph.inputs == netspec.from_onnx(path, {"x.1": (3, 8, 9)}).graph.inputs
    both = ("--input", "3,8,9", "--input", "x.1=3,8,9")
    assert "the sizes 3,8,9 have no name" in run("import", "onnx", path, *both).err


def test_one_of_several_inputs_needs_its_name(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    netspec.loads("net A { input x: [3]\n input y: [3]\n output x + y }").compile().to_onnx(path)
    with pytest.raises(NetspecError, match=r"have no name, and the file's inputs are `x`, `y`"):
        netspec.from_onnx(path, (3,))


@pytest.mark.parametrize(
    ("sizes", "said", "help"),
    [
        ((8, 9), "8,9 are no sizes", "write --input x=3,224,224"),
        ((8, 9, 3), "[N, 3, h, ?] in the file, the batch first", "write --input x=3,224,224"),
        ((5, 3, 8, 9), "5,3,8,9 are no", "leave the batch out: --input x=3,8,9"),
    ],
)
def test_sizes_that_the_file_does_not_have_are_refused(
    sizes: tuple[int, ...], said: str, help: str, tmp_path: Path
) -> None:
    path = saved(tmp_path / "m.onnx", "x", ["N", 3, "h", None])
    with pytest.raises(NetspecError) as caught:
        netspec.from_onnx(path, {"x": sizes})
    (found,) = caught.value.diagnostics
    assert found.code == "onnx/input"
    assert said in found.message
    assert found.hints[0].text.startswith(help)


def test_open_sizes_in_front_of_a_layer_that_needs_them_are_named(run: Any, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", "x", ["N", 3, "h", "w"], head=4)
    refused = run("import", "onnx", path)
    assert "`Gemm` cannot be expressed" in refused.err
    assert "sizes are open; say those of one image: --input x=3,224,224" in refused.err
    odd = run("import", "onnx", path, "--input", "3,5,5")
    assert "cannot be expressed" in odd.err
    assert "sizes are open" not in odd.err
