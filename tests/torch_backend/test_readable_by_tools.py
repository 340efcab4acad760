"""TorchScript and type checkers read the modules that are generated from all nets."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import netspec  # noqa: E402
from netspec.runtime.models.torch_build import module_class  # noqa: E402
from tests.helpers.heavy import some_quick  # noqa: E402
from tests.helpers.torch_support import check_text  # noqa: E402

NETWORKS = Path(__file__).parents[2] / "networks"
OWN = Path(__file__).parent / "nets"
FILES = {
    path.relative_to(folder).with_suffix("").as_posix(): path
    for folder in (OWN, NETWORKS)
    for path in sorted(folder.rglob("*.net"))
}
# One of each kind: lists of modules, dictionaries, containers within others, methods of tensors.
QUICK = (
    "lenet", "zoo/densenet121", "zoo/unet", "zoo/whisper_tiny_encoder", "zoo/vae", "zoo/m5", "zoo/llama",
)  # fmt: skip
# The layers of swin are called `merge{stage}` and `stage{stage}` beside others, so that no container has
# them in their order, and how many there are is an argument. The levels of unet run backwards, and are
# read by their numbers; deeplabv3's branches are `convs.{i + 1}`, behind one and before one that are not.
COMPUTED_NAMES = {"swin", "zoo/unet", "zoo/deeplabv3_resnet50"}

pytestmark = pytest.mark.usefixtures("one_thread")


@functools.cache
def net(name: str) -> netspec.Net:
    return netspec.load(FILES[name])


def has_computed_names(source: str) -> bool:
    """Whether a module is looked up by a name that is not written out."""
    return re.search(r'self\.get_submodule\(f"|self\.\w+\[str\(', source) is not None


@pytest.mark.parametrize("name", some_quick(FILES, QUICK))
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
def test_torch_script_reads_it_unless_names_are_computed(name: str) -> None:
    assert has_computed_names(net(name).source("torch")) == (name in COMPUTED_NAMES)
    if name not in COMPUTED_NAMES:
        with torch.device("meta"):  # without numbers, of which large nets have many
            module = module_class(net(name))()
        torch.jit.script(module)


# What the file calls by a name that a loop or a condition computes, and how `forward` comes to it.
WAYS = {
    "words of a list": (
        """net N { input x: [5, 4]
            y = x
            for name in ["query", "key"] { y = y + (x -> heads.{name}: linear(4)) }
            output y }""",
        "for head in self.heads.values():",
    ),
    "words that are read": (
        """net N { input x: [5, 4]
            y = x
            for name in ["query", "key"] {
                z = x -> heads.{name}: linear(4)
                if name == "key" { z = relu(z) }
                y = y + z
            }
            output y }""",
        "for name, head in self.heads.items():",
    ),
    "numbers of a list": (
        """net N { input x: [3, 6, 6]
            y = x
            for i in [1, 3] { y = y + (x -> parts.{i}: conv(3, i, pad = i // 2)) }
            output y }""",
        "for part in self.parts.values():",
    ),
    "two in a turn": (
        """net N { input x: [3, 6, 6]
            y = x
            for i in ["a", "b"] {
                y = y + (x -> parts.{i}: conv(3, 1)) + (y -> others.{i}: conv(3, 1))
            }
            output y }""",
        "for part, other in zip(self.parts.values(), self.others.values(), strict=True):",
    ),
    "attributes of dictionaries": (
        """net N { input x: [3, 6, 6]
            y = x
            for name in ["first", "last"] { y = y + (x -> parts.self.{name}: conv(3, 1)) }
            output y }""",
        "for layer in self.parts.self.values():",
    ),
    "names that count on": (
        """net N(wide = true, c = 3) { input x: [3, 6, 6]
            y = x
            at = 0
            if wide {
                y = x -> block.0: conv(4, 1) -> relu
                at = 1
            }
            y = y -> block.{at}: conv(c, 3, pad = 1) -> block.{at + 1}: batch_norm
            output concat(x, y) }""",
        "y = self.block(x)",
    ),
    "numbers in a block": (
        """block B(c) x {
            y = x -> 0: conv(c, 1) -> slice(1, 0, 2)
            z = y -> 2: conv(c, 3, pad = 1)
            return concat(z, x) -> norm: batch_norm }
        net N { input x: [3, 6, 6]
            output x -> B(3) -> B(4) }""",
        'z = self["2"](y)',
    ),
}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
def test_torch_script_reads_computed_names(name: str) -> None:
    text, way = WAYS[name]
    made = netspec.loads(text)
    assert way in made.source("torch")
    check_text(text)
    torch.jit.script(module_class(made)())


HIDING = {
    "a value that was another": """net N(wide = true, c = 3) { input x: [3, 6, 6]
        y = x
        x = x -> conv(3, 1)
        at = 0
        if wide {
            y = x -> block.0: conv(3, 1) -> relu
            at = 1
        }
        y = y -> block.{at}: conv(c, 3, pad = 1) -> block.{at + 1}: batch_norm
        output concat(x, y) }""",
    "words that dictionaries need": """net N { input x: [3, 6, 6]
        y = x
        for name in ["keys", "b"] { y = y + (x -> parts.{name}: conv(3, 1)) }
        output y }""",
    "attributes that dictionaries need": """block B(c) x {
        y = x -> 0: conv(c, 1) -> slice(1, 0, 2)
        z = y -> keys: conv(c, 1)
        return concat(z, x) }
        net N { input x: [3, 6, 6]
        output x -> B(3) -> B(4) }""",
    "arguments that dictionaries need": """block B(c, keys) x {
        y = x -> 0: conv(c, 1) -> reshape([keys, -1, 6])
        z = y -> 1: conv(c, 1)
        return z -> flatten }
        net N { input x: [4, 6, 6]
        output (x -> B(4, 4)) + (x -> B(3, 2) -> linear(144)) }""",
    "numbers that are read": """net N { input x: [3, 6, 6]
        y = x
        for i in [1, 3] { y = y + i * (x -> parts.{i}: conv(3, 1)) }
        output y }""",
    "numbers beside a loop": """net N(n = 2) { input x: [3, 6, 6]
        y = x -> 0: conv(3, 1)
        x = x + y
        for i in range(n) { x = x + (x -> l{i}: conv(3, 1)) }
        output x + (y -> 1: conv(3, 1)) }""",
}


@pytest.mark.parametrize("name", HIDING)
def test_what_only_looks_like_that_computes_the_same(name: str) -> None:
    check_text(HIDING[name])


@pytest.mark.heavy
def test_type_checkers_find_nothing_in_any_net(tmp_path: Path) -> None:
    for name in FILES:
        file = tmp_path / f"net_{name.replace('/', '_')}.py"
        file.write_text(net(name).source("torch"), "utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    files = map(str, sorted(tmp_path.glob("net_*.py")))
    done = subprocess.run(
        [*command, *files], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stdout
