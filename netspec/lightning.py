"""Nets and recipes for Lightning's Trainer, and for the engines that take PyTorch's modules.

>>> from lightning.pytorch import Trainer                             # doctest: +SKIP
>>> from netspec.lightning import DataModule, NetModule               # doctest: +SKIP
>>> module = NetModule(netspec.load("zoo/resnet18"), "resnet18.toml") # doctest: +SKIP
>>> Trainer(max_epochs=module.epochs).fit(module, DataModule("resnet18.toml"))  # doctest: +SKIP
"""

from netspec.runtime.engines.lightning_library import require_lightning

require_lightning()

from netspec.runtime.engines.data_module import DataModule  # noqa: E402
from netspec.runtime.engines.net_module import NetModule  # noqa: E402

__all__ = ["DataModule", "NetModule"]
