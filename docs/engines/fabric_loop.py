"""A net and its recipe in a loop of Lightning Fabric."""

from lightning.fabric import Fabric

from netspec.lightning import DataModule, NetModule


def train(net, recipe, out, **options):
    fabric = Fabric(**options)
    fabric.launch()
    module, data = NetModule(net, recipe), DataModule(recipe)
    data.attach(module)
    model, optimizer = fabric.setup(module, module.configure_optimizers())
    history = []
    for epoch in range(1, module.epochs + 1):
        for batch in data.steps(epoch):
            optimizer.zero_grad()
            found = model.training_step(fabric.to_device(batch))
            fabric.backward(found["loss"])
            module.take_step(optimizer)
            history.append(fabric.all_reduce(found["shown"], reduce_op="sum").item())
    fabric.save(out, {"model": model})
    return history
