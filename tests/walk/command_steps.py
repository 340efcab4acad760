"""Steps over the command line, in this process and sometimes in another one."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import netspec
from netspec.cli import FAILED, INTERRUPTED, OK, TERMINATED, VERBS, WRONG_USE, main
from tests.walk import nets
from tests.walk.scene import Find, Scene

ENDS = (OK, FAILED, WRONG_USE)
# `bench` measures for as long as it likes, and `watch` ends when it is interrupted.
WALKED = [verb for verb in VERBS if verb not in ("bench", "watch")]
SECONDS = 120.0


@dataclass(frozen=True)
class Finished:
    """The results of a command line."""

    code: int
    out: str
    err: str


def command(scene: Scene, *arguments: object, codes: tuple[int, ...] = ENDS) -> Finished:
    """Run a command line in this process. Anything but an ordinary end is a find."""
    words = [str(argument) for argument in arguments]
    scene.say(f"netspec {' '.join(map(repr, words))}")
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        code = main(words)
    out, err = (s.buffer.getvalue().decode("utf-8", "replace") for s in streams)  # type: ignore[attr-defined]
    if "Traceback" in err or code not in codes:
        raise Find(f"exit code {code} of netspec {words}\n{out[-2000:]}\n{err[-3000:]}")
    return Finished(code, out, err)


# --------------------------------------------------------------------------------------- files


def files(scene: Scene) -> tuple[Path, Path]:
    """Return a net that can be trained, and its data. They are made at the first call."""
    net, data = Path("a.net"), Path("data.npz")
    if not net.exists():
        net.write_text(_sized(scene.rng), "utf-8")
        Path("b.net").write_text(nets.any_text(scene.rng), "utf-8")
        Path("bad.net").write_text("net Bad() {\n  input x: [3, H\n  output x -> relux\n}\n")
        Path("deep").mkdir()
        Path("deep/c.net").write_text(nets.any_text(scene.rng), "utf-8")
        made = np.random.default_rng(scene.rng.getrandbits(32))
        shape = netspec.load(net).graph.inputs["x"]
        x = made.integers(0, 256, (40, *shape)).astype("u1")
        y = np.arange(40) % nets.CLASSES
        np.savez(data, x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
        np.save("pictures.npy", x[:5])
    return net, data


def _sized(rng: random.Random) -> str:
    """Return a classifier whose sizes are all known."""
    while "[2, H, W]" in (text := nets.classifier_text(rng)):
        pass
    return text


def _sources(*paths: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in paths}


def a_net(scene: Scene) -> str:
    """Return some `.net` file, good or bad."""
    files(scene)
    return scene.rng.choice(
        ["a.net", "a.net", "b.net", "bad.net", "deep/c.net", "lenet", "gone.net", "deep", "."]
    )


def run_folders() -> list[Path]:
    """Return the runs of this episode."""
    return sorted(path.parent for path in Path().glob("*/run.json"))


# --------------------------------------------------------------------------------------- steps


def check(scene: Scene) -> None:
    """Run `check` in all of its forms. It never loads or writes anything."""
    form = scene.rng.choice([[], ["--format", "json"], ["--strict"]])
    done = command(scene, "check", a_net(scene), *form)
    if form[:1] == ["--format"] and done.code != WRONG_USE:
        json.loads(done.out)


def summarize(scene: Scene) -> None:
    """Run `summarize` for some batch size."""
    batch = scene.rng.choice([1, 64, 10**9])
    form = scene.rng.choice([[], ["--format", "json"]])
    done = command(scene, "summarize", a_net(scene), "--batch", batch, *form)
    if form and done.code == OK:
        json.loads(done.out)


def draw(scene: Scene) -> None:
    """Check that a net is drawn to a file of its own, and twice alike."""
    net = a_net(scene)
    depth = scene.rng.choice([[], ["--depth", 0], ["--depth", 9]])
    out = scene.rng.choice(["n.svg", "n.html", "n.mmd", "n.dot", "n.gif", "a.net", "no/n.svg"])
    if command(scene, "draw", net, "-o", out, *depth).code == OK:
        once = Path(out).read_bytes()
        command(scene, "draw", net, "-o", out, *depth)
        if Path(out).read_bytes() != once:
            raise Find(f"{net} is drawn in two ways")


def diff(scene: Scene) -> None:
    """Check that a net is equal only to itself."""
    one, other = a_net(scene), a_net(scene)
    done = command(scene, "diff", one, other, "--format", "json")
    if done.code != WRONG_USE and one == other and done.out:
        found = json.loads(done.out)
        if "equal" in found and not found["equal"]:
            raise Find(f"{one} differs from itself")


def fmt(scene: Scene) -> None:
    """Check that formatting a file twice changes nothing more, and that its meaning stays the same."""
    files(scene)
    path = Path(scene.rng.choice(["a.net", "b.net", "deep/c.net"]))
    before = str(netspec.load(path).graph)
    command(scene, "fmt", path, codes=(OK,))
    text = path.read_bytes()
    command(scene, "fmt", "--check", path, codes=(OK,))
    command(scene, "fmt", path, codes=(OK,))
    if path.read_bytes() != text or str(netspec.load(path).graph) != before:
        raise Find(f"fmt changes {path}")


def compile_(scene: Scene) -> None:
    """Check that a program in a file is that of the library, and that no source is lost."""
    net, data = files(scene)
    kept = _sources(net, data)
    target = scene.rng.choice(["numpy", "torch"])
    more = scene.rng.choice([[], ["--inference"], ["--standalone"], ["--explain-plan"]])
    if target == "torch":
        more = []
    out = scene.rng.choice(["out.py", "out.py", "a.net", "deep", "no/out.py", "data.npz", "."])
    done = command(scene, "compile", net, "--target", target, *more, "-o", out)
    if _sources(net, data) != kept:
        raise Find(f"compile -o {out} wrote over a source")
    if out == "out.py" and done.code == OK and more in ([], ["--inference"]):
        expected = netspec.load(net).source(target, training=not more)
        if Path(out).read_text("utf-8") != expected:
            raise Find("compile writes another program than the library gives")
        command(scene, "compile", net, "--target", target, *more, "-o", out, "--check", codes=(OK,))


def new(scene: Scene) -> None:
    """Copy a net that comes with netspec: once, and never over an existing file."""
    name = scene.rng.choice(["lenet", "threelayer", "zoo/squeezenet1_0", "lenett", ""])
    path = Path(f"{name.rpartition('/')[2]}.net")
    before = path.read_bytes() if name and path.exists() else None
    done = command(scene, "new", *([name] if name else []))
    if before is not None and path.read_bytes() != before:
        raise Find(f"new wrote over {path}")
    if before is not None and done.code == OK:
        raise Find(f"new says that it wrote {path}, which was there")


def explain(scene: Scene) -> None:
    """Explain codes that exist, and others."""
    command(scene, "explain", scene.rng.choice(["shape/rank", "no/such", "", "é", "call/value"]))


_WRITER = """
net Writer {
    input tokens: int[6]
    output tokens -> embedding(256, 8) -> gru(12) -> linear(256)
}
"""


def generate(scene: Scene) -> None:
    """Let a net that was trained on a text write: the same twice, and as many tokens as asked for."""
    folder, rng = Path("texts"), scene.rng
    if not folder.exists():
        folder.mkdir()
        (folder / "writer.net").write_text(_WRITER)
        (folder / "book.txt").write_text("to be or not to be, é\n" * 20, "utf-8")
        command(
            scene, "train", rng.choice(["numpy", "torch"]), folder / "writer.net", "--data",
            folder / "book.txt", "--tokens", "byte", "--epochs", 1, "--quiet", "--out", folder / "run",
            codes=(OK,),
        )  # fmt: skip
    length = rng.choice([0, 1, 9])
    line = ["generate", folder / "run", "--length", length, "--seed", rng.randrange(3),
            "--prompt", rng.choice(["to be", "é", "\n", "a much longer prompt", "\U0001f600"]),
            *rng.choice([[], ["--temperature", 0], ["--top-k", 3], ["--top-p", 0.5]])]  # fmt: skip
    first, second = (command(scene, *line, codes=(OK,)) for _ in range(2))
    found = json.loads(command(scene, *line, "--format", "json", codes=(OK,)).out)
    if first.out != second.out or len(found["tokens"]) != length:
        raise Find(f"generate writes {first.out!r}, {second.out!r} and {found}")
    command(scene, "generate", folder / "run", "--prompt", "", codes=(FAILED, WRONG_USE))


def _training(scene: Scene) -> list[object]:
    net, data = files(scene)
    rng = scene.rng
    return [
        rng.choice(["numpy", "numpy", "numpy", "torch"]), net, "--data", data, "--no-recipe",
        "--epochs", rng.choice([1, 2]), "--batch", rng.choice([4, 16]), "--quiet",
        "--optimizer", rng.choice(["sgd", "adam"]), "--seed", rng.randrange(9),
        "--val", rng.choice([0, 6]), "--checkpoint-every", rng.choice([2, 100]),
        "--dtype", rng.choice(["float32", "float64"]),
    ]  # fmt: skip


def train(scene: Scene) -> None:
    """Train a run twice: both give equal weights, and the accuracy that `eval` measures."""
    arguments = _training(scene)
    first, second = (Path(scene.name("run")) for _ in range(2))
    done = command(scene, "train", *arguments, "--out", first, codes=(OK,))
    command(scene, "train", *arguments, "--out", second, codes=(OK,))
    _require_equal_runs(first, second)
    evaluated = command(scene, "eval", first, "--data", "data.npz", codes=(OK,))
    said = done.out.split("test accuracy ")[-1].split(" %")[0].strip()
    if f"{said} %" not in evaluated.out and f"{said}%" not in evaluated.out:
        raise Find(f"train says {done.out!r}, eval {evaluated.out!r}")


def resume(scene: Scene) -> None:
    """Check that a run that is stopped at any moment, and continued, ends like one that was not."""
    arguments = _training(scene)
    broken, whole = (Path(scene.name("run")) for _ in range(2))
    command(scene, "train", *arguments, "--out", whole, codes=(OK,))
    # The signal may come before the run has installed its handler.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    seconds = scene.rng.uniform(0.0, 0.3)
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    try:
        command(scene, "train", *arguments, "--out", broken, codes=(OK, TERMINATED))
    finally:
        timer.join()
        signal.signal(signal.SIGTERM, before)
    # The signal may come late enough to stop the run once more.
    if command(scene, "train", "--resume", broken, codes=(OK, TERMINATED)).code != OK:
        command(scene, "train", "--resume", broken, codes=(OK,))
    _require_equal_runs(broken, whole)


def _require_equal_runs(one: Path, other: Path) -> None:
    if (one / "weights.safetensors").read_bytes() != (other / "weights.safetensors").read_bytes():
        raise Find(f"the weights of {one} are not those of {other}")


def look_at_runs(scene: Scene) -> None:
    """Run `runs` and `plot` on the runs that exist."""
    folders = run_folders()
    form = scene.rng.choice([[], ["--compare"], ["--format", "json"], ["--format", "csv"]])
    command(scene, "runs", *(folders or ["."]), *form)
    if folders:
        scene.rng.shuffle(folders)
        command(scene, "plot", *folders[:2], "-o", scene.rng.choice(["c.png", "c.svg", "c.gif"]))
        command(scene, "plot", "--filters", folders[0], "-o", "f.png")


def use_run(scene: Scene) -> None:
    """Check that a run answers as its model in the library does."""
    folders = run_folders()
    if not folders:
        return
    folder = scene.rng.choice(folders)
    backend = scene.rng.choice(["numpy", "torch"])
    done = command(
        scene, "predict", folder, "pictures.npy", "--format", "json", "--backend", backend,
        codes=(OK,),
    )  # fmt: skip
    weights = netspec.load_weights(folder / "weights.safetensors")
    model = netspec.load(next((folder / "net").glob("*.net"))).compile(dtype="float64")
    model.load_state_dict(weights.tensors)
    assert weights.normalization is not None
    scores = model.scores(weights.normalization.apply(np.load("pictures.npy"), np.dtype("f8")))
    best = np.sort(scores, axis=1)
    clear = best[:, -1] - best[:, -2] > 1e-3 * np.abs(best).max()
    found = [each["classes"][0]["class"] for each in json.loads(done.out)]
    for i, label in enumerate(scores.argmax(axis=1)):
        if clear[i] and int(found[i]) != label:
            raise Find(f"predict says {found}, the model {scores.argmax(axis=1)}")


def examine(scene: Scene) -> None:
    """Run `gradcheck`, `verify` and `doctor`: for a valid net none of them fails."""
    net, data = files(scene)
    verb = scene.rng.choice(["gradcheck", "gradcheck", "verify", "doctor"])
    if verb == "doctor":
        command(scene, verb, net, "--data", data)
    else:
        command(scene, verb, net, codes=(OK,))


_ODD_WORDS = [
    "", "-1", "0", "nan", "inf", "1e400", "é", "\udcff", "a" * 300, "-", "--", "--help", "--epochs",
    "--set", "x=", "=", "--out", "none", "--format", "json", "deep", "a.net", "bad.net", "pictures.npy",
    "data.npz", "1", "99999999999999999999", "--net", "None", "--threads", "2", "\n", "x\0y", "[1,2]",
    "--data", "--weights", "--batch", "--quiet", "--no-recipe", "@a.net", "numpy", "torch", "--target",
]  # fmt: skip


def odd_command(scene: Scene) -> None:
    """Run a command line that nobody would mean.

    It must end normally and leave the sources as they were.
    """
    net, data = files(scene)
    rng = scene.rng
    verb = rng.choice(WALKED)
    words = [str(word) for word in rng.choice([[verb, a_net(scene)], _whole(scene, verb)])]
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(1, len(words))
        if rng.random() < 0.3 and at < len(words):
            del words[at]
        else:
            words.insert(at, rng.choice([*_ODD_WORDS, *map(str, run_folders())]))
    if verb == "train" and "--epochs" not in words:
        words += ["--epochs", "1"]
    if "-" in words:  # standard input is that of the terminal
        words.remove("-")
    if len(words) == 1 and verb in ("train", "runs", "doctor"):
        return
    kept = _sources(net, data)
    command(scene, *words, codes=(*ENDS, INTERRUPTED))
    if verb not in ("fmt", "check") and _sources(net, data) != kept:
        raise Find(f"{words} wrote over a source")


def _whole(scene: Scene, verb: str) -> list[object]:
    """Return a command line of a verb that is mostly valid."""
    runs = run_folders() or [Path("gone")]
    lines: dict[str, list[object]] = {
        "train": ["train", *_training(scene), "--out", "none"],
        "compile": ["compile", "a.net", "--target", "numpy", "-o", "odd.py"],
        "eval": ["eval", runs[0], "--data", "data.npz"],
        "predict": ["predict", runs[0], "pictures.npy"],
        "plot": ["plot", runs[0], "-o", "odd.png"],
        "runs": ["runs", *runs],
        "doctor": ["doctor", "a.net", "--data", "data.npz"],
    }
    return lines.get(verb, [verb, "a.net"])


def own_process(scene: Scene) -> None:
    """Run a command line in another process with odd streams: no traceback, whatever is closed."""
    if scene.rng.random() < 0.5:  # each takes a second
        return
    net, _ = files(scene)
    words = scene.rng.choice([
        ["check", str(net)], ["check", "bad.net"], ["summarize", str(net)], ["explain", "shape/rank"],
        ["compile", str(net), "--target", "numpy"], ["fmt", "-"], ["runs", "."], ["--version"], [],
    ])  # fmt: skip
    streams = scene.rng.choice(
        ["", "<&-", ">&-", "2>&-", "<&- >&- 2>&-", "| head -c 1", "> /dev/full"]
    )
    line = f'"$@" {streams}'
    scene.say(f"netspec {' '.join(words)} {streams}")
    done = subprocess.run(
        ["bash", "-c", line, "bash", sys.executable, "-m", "netspec", *words],
        input=net.read_bytes(), capture_output=True, check=False, timeout=SECONDS,
    )  # fmt: skip
    err = done.stderr.decode("utf-8", "replace")
    if "Traceback" in err or "Exception" in err or done.returncode in (70, 120):
        raise Find(f"{words} {streams} ends with {done.returncode}\n{err[-3000:]}")


# The steps, and how often each is taken, relative to the others.
STEPS: dict[Callable[[Scene], None], int] = {
    check: 8, summarize: 5, draw: 4, diff: 5, fmt: 4, compile_: 6, new: 2, explain: 2, train: 4,
    generate: 2, resume: 3, look_at_runs: 4, use_run: 4, examine: 1, odd_command: 20, own_process: 2,
}  # fmt: skip


def chosen(rng: random.Random) -> Callable[[Scene], None]:
    """Return a step."""
    return rng.choices(list(STEPS), list(STEPS.values()))[0]
