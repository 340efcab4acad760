"""A net and its recipe under Lightning's Trainer."""

from lightning.pytorch import Trainer

from netspec.lightning import DataModule, NetModule


def train(net, recipe, out, **options):
    module, data = NetModule(net, recipe), DataModule(recipe)
    trainer = Trainer(max_epochs=module.epochs, **options)
    trainer.fit(module, data)
    trainer.save_checkpoint(out)
    return trainer
