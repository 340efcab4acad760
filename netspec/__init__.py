"""netspec: neural networks that are written down, checked, and compiled to NumPy and PyTorch.

>>> import netspec
>>> net = netspec.load("networks/lenet.net", classes=10)
>>> model = net.compile("numpy", seed=0)
>>> scores = model.forward(images)                                    # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netspec.diagnostics import Diagnostic, NetspecError
from netspec.net import Net, load, load_ops, loads

if TYPE_CHECKING:
    from netspec.check_report import CheckReport, check
    from netspec.compiler.onnx_backend import OnnxOptions
    from netspec.onnx_import import from_onnx
    from netspec.picture_grid import Pictures, pictures
    from netspec.runtime.data import Dataset
    from netspec.runtime.data import load as load_data
    from netspec.runtime.inference.given_picture import read_picture
    from netspec.runtime.models.evaluation import Evaluation
    from netspec.runtime.models.numpy_model import Model
    from netspec.runtime.training.fit import History, fit
    from netspec.runtime.training.rate_finder import find_rate
    from netspec.runtime.weights.safetensors_file import save_weights
    from netspec.runtime.weights.weights_file import load_weights
    from netspec.tools.doctor.examine import examine as doctor
    from netspec.tools.gradcheck import gradcheck
    from netspec.tools.verify import verify
    from netspec.torch_import import from_torch
    from netspec.trained_run import TrainedRun, load_run

__version__ = "0.2.0"

# These need NumPy, which `netspec check` does not, so they are imported on first use.
_LAZY = {
    "CheckReport": ("netspec.check_report", "CheckReport"),
    "check": ("netspec.check_report", "check"),
    "doctor": ("netspec.tools.doctor", "examine"),
    "Evaluation": ("netspec.runtime.models.evaluation", "Evaluation"),
    "gradcheck": ("netspec.tools.gradcheck", "gradcheck"),
    "fit": ("netspec.runtime.training.fit", "fit"),
    "find_rate": ("netspec.runtime.training.rate_finder", "find_rate"),
    "History": ("netspec.runtime.training.fit", "History"),
    "Dataset": ("netspec.runtime.data", "Dataset"),
    "load_data": ("netspec.runtime.data", "load"),
    "Model": ("netspec.runtime.models.numpy_model", "Model"),
    "Pictures": ("netspec.picture_grid", "Pictures"),
    "pictures": ("netspec.picture_grid", "pictures"),
    "OnnxOptions": ("netspec.compiler.onnx_backend", "OnnxOptions"),
    "verify": ("netspec.tools.verify", "verify"),
    "load_weights": ("netspec.runtime.weights.weights_file", "load_weights"),
    "from_onnx": ("netspec.onnx_import", "from_onnx"),
    "from_torch": ("netspec.torch_import", "from_torch"),
    "load_run": ("netspec.trained_run", "load_run"),
    "TrainedRun": ("netspec.trained_run", "TrainedRun"),
    "read_picture": ("netspec.runtime.inference.given_picture", "read_picture"),
    "save_weights": ("netspec.runtime.weights.safetensors_file", "save_weights"),
}

__all__ = [
    "CheckReport",
    "Dataset",
    "Diagnostic",
    "Evaluation",
    "History",
    "Model",
    "Net",
    "NetspecError",
    "OnnxOptions",
    "Pictures",
    "TrainedRun",
    "__version__",
    "check",
    "doctor",
    "find_rate",
    "fit",
    "from_onnx",
    "from_torch",
    "gradcheck",
    "load",
    "load_data",
    "load_ops",
    "load_run",
    "load_weights",
    "loads",
    "pictures",
    "read_picture",
    "save_weights",
    "testing",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        module, attribute = _LAZY[name]
        return getattr(importlib.import_module(module), attribute)
    if name == "testing":  # a module, for `netspec.testing.check_layer`
        import importlib

        return importlib.import_module("netspec.testing")
    raise AttributeError(f"module 'netspec' has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """Add `%%netspec NAME` and `%netspec VERB ...` to IPython; `%load_ext netspec` calls it."""
    from netspec.notebook import load_extension

    load_extension(shell)


def __dir__() -> list[str]:
    return sorted(__all__)
