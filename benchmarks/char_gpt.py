"""Trains a GPT of 0.8 million parameters on the sources of Python's standard library, by character.

It has the sizes of nanoGPT's small example, `networks/zoo/gpt2.net` with 4 layers of width 128, and reads
windows of 64 characters in batches of 12. NumPy and the generated PyTorch module take 200 steps from the
same weights, and their losses and a text that each writes are compared. Then the times of steps are
compared with those of a GPT in plain PyTorch, in short rounds that alternate, as other work on a machine
comes and goes. The time is that of the processor, of all threads together, so that other processes count
little; `--clock wall` takes that of a clock, for a machine that is otherwise idle.

python benchmarks/char_gpt.py --threads 2
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import netspec
from netspec.runtime.data.batches import batch_slices, epoch_order
from netspec.runtime.data.input_normalization import Normalization
from netspec.runtime.engine.threads import limit
from netspec.runtime.models.generation import Sampling
from netspec.runtime.models.protocols import Job
from netspec.runtime.optim.losses import SoftmaxCrossEntropy

ROOT = Path(__file__).resolve().parents[1]
BYTES = 1_000_000
LENGTH, BATCH, STEPS, RATE = 64, 12, 200, 1e-3
SIZES = {"width": 128, "layers": 4, "heads": 4, "positions": LENGTH, "T": LENGTH}
CLOCKS: dict[str, Callable[[], float]] = {"processor": time.process_time, "wall": time.perf_counter}


def sources() -> str:
    """Return the first megabyte of the standard library's sources, sorted by path."""
    library = Path(sysconfig.get_path("stdlib"))
    found = b""
    for path in sorted(library.rglob("*.py")):
        if "site-packages" not in path.parts:
            found += path.read_bytes()
        if len(found) >= BYTES:
            break
    return found[:BYTES].decode("utf-8", "ignore")


def load_text() -> netspec.Dataset:
    """Return the text as windows of characters."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "library.txt"
        path.write_text(sources(), encoding="utf-8")
        return netspec.load_data(path, input_shape=(LENGTH,))


def models(data: netspec.Dataset) -> dict[str, Any]:
    """Return a NumPy and a PyTorch model with the same weights."""
    net = netspec.load(ROOT / "networks/zoo/gpt2.net", vocabulary=data.classes, **SIZES)
    found = {target: net.compile(target, seed=0) for target in ("numpy", "torch")}
    found["torch"].load_state_dict(found["numpy"].state_dict())
    print(f"{net.summary().parameters:,} parameters, {data!r}")
    return found


def train(data: netspec.Dataset) -> bool:
    """Train with both backends, and return whether losses and texts are the same."""
    histories, texts = [], []
    for target, model in models(data).items():
        history = netspec.fit(
            model, data, epochs=1, batch=BATCH, train_limit=STEPS * BATCH, optimizer="adamw", lr=RATE,
            normalize="none", eval_every=0, progress=False,
        )  # fmt: skip
        prompt = data.vocabulary.encode("def ", "the prompt").tolist()
        tokens = [*model.generate(prompt, 200, Sampling(temperature=0.8, seed=1))]
        histories.append(np.array(history.loss_history))
        texts.append(data.vocabulary.decode(tokens))
        print(f"{target}: {len(histories[-1])} steps, loss {histories[-1][0]:.5f} to"
              f" {np.mean(histories[-1][-10:]):.5f}")  # fmt: skip
    ours, theirs = histories
    apart = float(np.abs(ours - theirs).max())
    print(f"losses differ by at most {apart:.1e}; the texts are"
          f" {'the same' if texts[0] == texts[1] else 'different'}:\n\ndef {texts[0]}\n")  # fmt: skip
    return apart <= 1e-4 and texts[0] == texts[1]


def netspec_steps(stack: ExitStack, model: Any, data: netspec.Dataset) -> Callable[[], None]:
    """Return what takes a step of `fit`."""
    job = Job(
        data, {}, Normalization.fit("none", data.x_train), SoftmaxCrossEntropy(), 0.0, None, "adamw", {},
        BATCH, 0,
    )  # fmt: skip
    backend = stack.enter_context(model.training(job))
    count = len(data.x_train)
    backend.begin_epoch(1, epoch_order(count, 0, 1), batch_slices(count, BATCH))

    def step() -> None:
        backend.step(RATE)
        backend.read(False)

    return step


def plain_steps(data: netspec.Dataset) -> Callable[[], None]:
    """Return what takes a step of a GPT in plain PyTorch, as a training script does."""
    import torch

    sys.path.insert(0, str(ROOT))
    from tests.helpers.plain_writers import Gpt2

    sizes = {key: SIZES[key] for key in ("width", "layers", "heads", "positions")}
    model = Gpt2(vocabulary=data.classes, **sizes).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    x = torch.tensor(data.x_train, dtype=torch.int64)
    y = torch.tensor(data.y_train)
    order = np.random.default_rng(0).permutation(len(x))
    batches = iter(order[: len(x) // BATCH * BATCH].reshape(-1, BATCH))

    def step() -> None:
        rows = torch.as_tensor(next(batches))
        scores = model(x[rows])
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), y[rows].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def compare(data: netspec.Dataset, rounds: int, steps: int, clock: Callable[[], float]) -> None:
    """Print the time of a step of each, in rounds that alternate."""
    with ExitStack() as stack:
        found = models(data)
        taking = {
            "plain PyTorch": plain_steps(data),
            **{name: netspec_steps(stack, model, data) for name, model in found.items()},
        }
        times: dict[str, list[float]] = {name: [] for name in taking}
        for number in range(rounds + 1):
            for name, step in taking.items():
                start = clock()
                for _ in range(steps):
                    step()
                if number:  # the first round is a warm-up
                    times[name].append((clock() - start) / steps)
    tokens, plain = BATCH * LENGTH, times["plain PyTorch"]
    for name, each in times.items():
        relative = median(a / b for a, b in zip(each, plain, strict=True))
        print(f"{name:14}{1000 * median(each):8.2f} ms a step {tokens / median(each):9,.0f} tokens/s"
              f"  {relative:.3f} times plain PyTorch")  # fmt: skip


def main() -> int:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=10, help="steps in a round")
    parser.add_argument("--clock", choices=CLOCKS, default="processor")
    parser.add_argument("--no-training", action="store_true", help="compare times alone")
    options = parser.parse_args()
    import torch

    limit(options.threads)
    torch.set_num_threads(options.threads)
    data = load_text()
    equal = options.no_training or train(data)
    compare(data, options.rounds, options.steps, CLOCKS[options.clock])
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
