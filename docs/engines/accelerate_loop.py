"""A net and its recipe in a loop of Hugging Face Accelerate."""

from accelerate import Accelerator
from accelerate.utils import send_to_device

from netspec.lightning import DataModule, NetModule


def train(net, recipe, out, **options):
    accelerator = Accelerator(**options)
    module, data = NetModule(net, recipe), DataModule(recipe)
    data.attach(module)
    model, optimizer = accelerator.prepare(module, module.configure_optimizers())
    history = []
    for epoch in range(1, module.epochs + 1):
        for batch in data.steps(epoch):
            batch = send_to_device(batch, accelerator.device)
            optimizer.zero_grad()
            found = module.losses(model(*module.arguments(batch)), batch)
            accelerator.backward(found["loss"])
            module.take_step(optimizer)
            history.append(accelerator.reduce(found["shown"], "sum").item())
    accelerator.save_model(model, out)
    return history
