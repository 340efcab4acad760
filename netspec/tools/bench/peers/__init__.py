"""Who can be measured. Each peer is one file, which is loaded in a process of its own."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

from netspec.tools.bench.workload import Prepare, Workload

OURS = "netspec"


@dataclass(frozen=True)
class Peer:
    """Something that can take the steps of a case.

    Attributes:
        about: in a few words.
        module: of this package.
        function: in it: makes a `Runner` of a case.
        packages: what it imports, as names of modules.
        trains: or does inference alone.
    """

    about: str
    module: str
    function: str = "prepare"
    packages: tuple[str, ...] = ()
    trains: bool = True

    def reason_not(self, case: Workload) -> str | None:
        """Why it cannot take part, if that is plain before it is tried."""
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            return f"not installed: pip install {' '.join(missing)}"
        if case.train and not self.trains:
            return "is for inference only"
        return None

    def load(self) -> Prepare:
        """The function that makes it ready."""
        module = importlib.import_module(f"netspec.tools.bench.peers.{self.module}")
        prepare: Prepare = getattr(module, self.function)
        return prepare


PEERS = {
    OURS: Peer("the compiled NumPy program", "ours"),
    "torch": Peer("PyTorch, eager, N, C, H, W", "pytorch", "eager", ("torch",)),
    "torch-channels-last": Peer(
        "PyTorch, eager, memory format channels_last", "pytorch", "channels_last", ("torch",)
    ),
    "torch-compile": Peer("torch.compile, N, C, H, W", "pytorch", "compiled", ("torch",)),
    "jax": Peer("JAX, jit, N, H, W, C", "in_jax", packages=("jax",)),
    "onnxruntime": Peer(
        "onnxruntime, on PyTorch's ONNX export", "onnx",
        packages=("torch", "onnx", "onnxscript", "onnxruntime"), trains=False,
    ),
    "tinygrad": Peer("tinygrad, TinyJit, on the processor", "in_tinygrad", packages=("tinygrad",)),
    "numpy-im2col": Peer("a student's NumPy: im2col by index arrays", "im2col"),
}  # fmt: skip
