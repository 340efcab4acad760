"""The libraries that can be measured. Each peer is one file, loaded in a process of its own."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

from netspec.tools.bench.workload import Prepare, Workload

OURS = "netspec"


@dataclass(frozen=True)
class Peer:
    """A library that can run the steps of a case.

    Attributes:
        about: a short description.
        module: a module of this package.
        function: the function of the module that makes a `Runner` for a case.
        packages: the modules that it imports.
        trains: False if it only does inference.
    """

    about: str
    module: str
    function: str = "prepare"
    packages: tuple[str, ...] = ()
    trains: bool = True

    def reason_not(self, case: Workload) -> str | None:
        """Return why it cannot take part, if that is known without trying."""
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            return f"not installed: pip install {' '.join(missing)}"
        if case.train and not self.trains:
            return "is for inference only"
        return None

    def load(self) -> Prepare:
        """Import and return the function that prepares it."""
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
        "onnxruntime, on the net's ONNX model", "onnx", packages=("onnx", "onnxruntime"),
        trains=False,
    ),
    "tinygrad": Peer("tinygrad, TinyJit, on the processor", "in_tinygrad", packages=("tinygrad",)),
    "netspec-c": Peer("netspec, machine code by the C compiler of this machine", "ours", "native"),
    "numpy-im2col": Peer("a student's NumPy: im2col by index arrays", "im2col"),
}  # fmt: skip
