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
# Their layers have names that a loop or a condition computes, which TorchScript looks up for nobody.
COMPUTED_NAMES = {
    "swin", "zoo/bert_base", "zoo/convnext_tiny", "zoo/efficientnet_b0", "zoo/m5",
    "zoo/mobilenet_v3_small", "zoo/r3d_18", "zoo/swin_t",
}  # fmt: skip

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
