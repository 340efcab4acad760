"""The data of a recipe as a LightningDataModule, which other engines can use too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, IterableDataset

from netspec.runtime.data.batches import epoch_order
from netspec.runtime.data.catalog import load
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.engines.given_recipe import GivenRecipe, settings_of
from netspec.runtime.engines.net_module import NetModule
from netspec.runtime.models.classifier_shape import only_input_shape
from netspec.runtime.models.pytorch.batches import job_feeds
from netspec.runtime.models.pytorch.epoch_share import OwnShare, Step
from netspec.runtime.models.pytorch.evaluated_part import evaluated_parts, rounds
from netspec.runtime.models.pytorch.processes import current_group

_CPU = torch.device("cpu")


class DataModule(LightningDataModule):  # type: ignore[misc]  # it has no types
    """The images of a recipe, of which each process gets its share of every step.

    Lightning's Trainer attaches it to the `NetModule` that it trains; for other engines `attach` does.

    Args:
        recipe: the path of a recipe, or its options by name.
        data: a data set to use in place of the recipe's.
        data_dir: the folder to search first.

    Raises:
        NetspecError: `recipe/...`, `train/bad-option`.
    """

    def __init__(
        self,
        recipe: GivenRecipe = None,
        *,
        data: Dataset | None = None,
        data_dir: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings_of(recipe)
        self._data, self._data_dir = data, data_dir
        self._module: NetModule | None = None

    def attach(self, module: NetModule) -> None:
        """Load the data for the net of a module, and check its recipe with them.

        Raises:
            NetspecError: `data/...`; `train/bad-option`.
        """
        self._module = module
        module.attach(self._loaded(module))
        self._feeds = job_feeds(module.job, module.model.graph, _CPU)

    def steps(self, epoch: int) -> Iterator[Step]:
        """Return the share of this process in the steps of an epoch, counted from 1."""
        module = self._attached()
        job, parts = module.job, module.planned.parts
        module.model.start_training()
        order = epoch_order(parts[-1].stop, job.seed, epoch, job.chances)
        own = OwnShare(job, module.model.graph, current_group(), self._feeds["steps"], _CPU)
        return own.steps(epoch, order, parts)

    # -- Lightning's hooks

    def prepare_data(self) -> None:
        """Load the data once before all processes do, because they may have to be downloaded."""
        self._loaded(self.trainer.lightning_module)

    def setup(self, stage: str) -> None:
        """Attach the data to the module that the Trainer trains."""
        self.attach(self.trainer.lightning_module)

    def train_dataloader(self) -> Any:
        """Return the steps of the Trainer's current epoch."""
        count = len(self._attached().planned.parts)
        return _loader(lambda: self.steps(self.trainer.current_epoch + 1), count)

    def val_dataloader(self) -> Any:
        """Return the images that are held out; nothing if there are none."""
        return self._evaluated("val")

    def test_dataloader(self) -> Any:
        """Return the test images; nothing if there are none."""
        return self._evaluated("test")

    def _evaluated(self, name: str) -> Any:
        job, group = self._attached().job, current_group()
        if name not in job.measured:
            return []
        feed = self._feeds[name]
        return _loader(lambda: evaluated_parts(job, name, group, feed), rounds(job, name, group))

    def _attached(self) -> NetModule:
        if self._module is None:
            self.attach(self.trainer.lightning_module)
        assert self._module is not None
        return self._module

    def _loaded(self, module: NetModule) -> Dataset:
        if self._data is None:
            settings = self.settings
            self._data = load(
                settings["data"], self._data_dir, only_input_shape(module.model.graph),
                resize=settings.resize, on_demand=settings.decodes_on_demand,
                ignore_index=settings["ignore-index"], tokens=settings["tokens"],
            )  # fmt: skip
        return self._data


class _Batches(IterableDataset):  # type: ignore[misc]  # it has no types
    """Batches that are made one after the other."""

    def __init__(self, make: Callable[[], Iterator[Any]], count: int) -> None:
        self._make, self._count = make, count

    def __iter__(self) -> Iterator[Any]:
        return self._make()

    def __len__(self) -> int:
        return self._count


def _loader(make: Callable[[], Iterator[Any]], count: int) -> Any:
    """Return a loader of batches as they are made."""
    return DataLoader(_Batches(make, count), batch_size=None, pin_memory=torch.cuda.is_available())
