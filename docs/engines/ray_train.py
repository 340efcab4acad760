"""A net and its recipe in the workers of Ray Train's TorchTrainer."""

import tempfile
from pathlib import Path

import torch
from ray.train import Checkpoint, RunConfig, ScalingConfig, get_context, report
from ray.train.torch import TorchTrainer, get_device, prepare_model

import netspec
from netspec.lightning import DataModule, NetModule


def on_device(batch):
    x = {name: each.to(get_device()) for name, each in batch.x.items()}
    return batch._replace(x=x, y=batch.y.to(get_device()), drawn=batch.drawn.to(get_device()))


def work(config):
    net, recipe = netspec.loads(config["net"]), config["recipe"]
    module, data = NetModule(net, recipe), DataModule(recipe)
    data.attach(module)
    model, optimizer = prepare_model(module), module.configure_optimizers()
    history = []
    for epoch in range(1, module.epochs + 1):
        for batch in map(on_device, data.steps(epoch)):
            optimizer.zero_grad()
            found = module.losses(model(*module.arguments(batch)), batch)
            found["loss"].backward()
            module.take_step(optimizer)
            if get_context().get_world_size() > 1:
                torch.distributed.all_reduce(found["shown"])
            history.append(found["shown"].item())
        with tempfile.TemporaryDirectory() as folder:
            is_first = get_context().get_world_rank() == 0
            torch.save(module.state_dict(), Path(folder, "weights.pt"))
            kept = Checkpoint.from_directory(folder) if is_first else None
            report({"losses": history}, checkpoint=kept)


def train(text, recipe, out, **scaling):
    trainer = TorchTrainer(
        work,
        train_loop_config={"net": text, "recipe": recipe},
        scaling_config=ScalingConfig(**scaling),
        run_config=RunConfig(storage_path=str(Path(out).absolute())),
    )
    return trainer.fit()
