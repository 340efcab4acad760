"""Steps over the public Python API: each does one thing to an object, and checks its answer."""

from __future__ import annotations

import copy
import functools
import gc
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import netspec
from netspec.compiler.passes.bind_sizes import open_sizes
from netspec.export import standalone_source
from netspec.kernels import parallel
from netspec.runtime.optim.losses import LOSSES_OF_CLASSES
from netspec.runtime.optim.lr_schedules import SCHEDULES
from netspec.runtime.optim.optimizers import OPTIMIZERS
from tests.helpers.interrupting import by_signal
from tests.walk import nets
from tests.walk.odd_values import bad_data, bad_input, good_data, good_input, strange_input
from tests.walk.scene import Find, Held, Scene, State, compare, one_or_all

# A forked or spawned process must answer within this time, however busy the machine is.
PROCESS_SECONDS = 120.0


def make(scene: Scene) -> None:
    """Make a model, predictor or standalone net."""
    rng = scene.rng
    kind = rng.choice(["numpy"] * 5 + ["torch", "standalone", "standalone"])
    dtype, seed = rng.choice(["float32", "float32", "float64"]), rng.randrange(1000)
    name = scene.name("m")
    if kind == "standalone":
        number = rng.randrange(STANDALONE_FILES)
        text, training, made = standalone_file(number)
        scene.say(f"{name}: standalone file {number}, {dtype}, seed {seed}, of\n{text}")
        it = made(seed=seed, dtype=dtype)
        (scene.folder / f"{made.__module__}.py").write_text(
            standalone_source(netspec.loads(text).graph, training=training), "utf-8"
        )
        net = netspec.loads(text)
    else:
        text = nets.any_text(rng)
        scene.say(f"{name}: {kind}, {dtype}, seed {seed}, of\n{text}")
        net = netspec.loads(text)
        it = net.compile(kind, dtype=dtype, seed=seed)  # type: ignore[call-overload]
    held = Held(name, kind, net, dtype, it, {})
    held.state = held.own_state()
    twin = netspec.loads(text).compile(dtype=dtype, seed=seed)
    _require_equal(held, held.state, twin.state_dict(), "initial values")
    scene.held.append(held)
    del scene.held[:-8]


# A process imports a module only once and keeps it, so this is the number of files that exist.
STANDALONE_FILES = 12


@functools.cache
def standalone_file(number: int) -> tuple[str, bool, Any]:
    """Return the text of a net, whether its file trains, and the class that the file defines.

    Others can import it by the name of its module.
    """
    rng = random.Random(f"file {number}")
    while open_sizes(netspec.loads(text := nets.any_text(rng)).graph):
        pass
    net = netspec.loads(text)
    training = net.graph.name != "Random" and number % 2 == 0
    module = types.ModuleType(f"walk_file_{number}")
    sys.modules[module.__name__] = module  # pickle finds a class by its module
    exec(compile(standalone_source(net.graph, training=training), module.__name__, "exec"),
         vars(module))  # fmt: skip
    return text, training, getattr(module, net.name)


def answer(scene: Scene) -> None:
    """Check the answer to a good batch in an odd form against the reference."""
    held = scene.take()
    if held is None:
        return
    shapes = held.shapes(scene.rng)
    first = next(iter(shapes))
    odd = good_input(scene.rng, shapes[first], scene.folder)
    assert odd.means is not None
    inputs, given = {first: odd.means}, {first: odd.value}
    for name, shape in list(shapes.items())[1:]:
        other = np.random.default_rng(1).standard_normal((len(odd.means), *shape)).astype("f4")
        inputs[name] = given[name] = other
    scene.say(f"{held.name} of {odd.about}")
    x = given if len(given) > 1 or scene.rng.random() < 0.1 else odd.value
    held.check_answer(inputs, x, f" of {odd.about}")


def again(scene: Scene) -> None:
    """Check answers to batches of a few sizes in turn, as a service gets them."""
    held = scene.take()
    if held is None:
        return
    batches = [held.plain(scene.rng) for _ in range(2)]
    turns = [scene.rng.randrange(2) for _ in range(6)]
    scene.say(f"{held.name} again: {[len(one_or_all(b)) for b in batches]} in the order {turns}")
    expected = [held.expected(each) for each in batches]
    for i in turns:
        compare(held, held.answer(one_or_all(batches[i])), expected[i], f" in turn {i}")


def refuse_input(scene: Scene) -> None:
    """Check that something that is no batch of images is rejected, and that the next answer is
    right.
    """
    held = scene.take()
    if held is None:
        return
    shapes = held.shapes(scene.rng)
    odd = bad_input(scene.rng, next(iter(shapes.values())))
    if odd.about == "a column more" and open_sizes(held.graph):
        return
    scene.say(f"{held.name} of {odd.about}")
    scene.refused(lambda: held.it.forward(odd.value), f"{held.name} of {odd.about}")
    inputs = held.plain(scene.rng)
    held.check_answer(inputs, one_or_all(inputs), f" after {odd.about}")


def strange_numbers(scene: Scene) -> None:
    """Check that NaN and infinity give some answer, and that the next one is right."""
    held = scene.take()
    if held is None:
        return
    shapes = held.shapes(scene.rng)
    odd = {n: strange_input(scene.rng, s) for n, s in shapes.items()}
    length = min(len(each.value) for each in odd.values())
    scene.say(f"{held.name} of {[each.about for each in odd.values()]}")
    held.answer(one_or_all({n: each.value[:length] for n, each in odd.items()}))
    inputs = held.plain(scene.rng)
    held.check_answer(inputs, one_or_all(inputs), " after strange numbers")


def predictor(scene: Scene) -> None:
    """Make the predictor of a model, with the model's current parameters."""
    held = scene.take("numpy")
    if held is None:
        return
    name = scene.name("p")
    scene.say(f"{name} = {held.name}.predictor()")
    it = held.it.predictor()
    scene.held.append(Held(name, "predictor", held.net, held.dtype, it, dict(held.state)))


def copied(scene: Scene) -> None:
    """Copy an object in one of the possible ways."""
    held = scene.take()
    if held is None:
        return
    way = scene.rng.choice(list(WAYS))
    name = scene.name("c")
    scene.say(f"{name} = {way} of {held.name}")
    it = WAYS[way](held.it)
    if type(it) is not type(held.it):
        raise Find(f"{way} of {held.name} is {type(it)}")
    state = {n: a.copy() for n, a in held.state.items()}
    new = Held(name, held.kind, held.net, held.dtype, it, state, held.frozen)
    new.check_state()
    scene.held.append(new)


WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda each: pickle.loads(pickle.dumps(each)),
    "old pickle": lambda each: pickle.loads(pickle.dumps(each, protocol=2)),
    "two ways": lambda each: copy.deepcopy(pickle.loads(pickle.dumps(each))),
}


def shared(scene: Scene) -> None:
    """Use one object from several threads at the same time."""
    held = scene.take()
    if held is None:
        return
    batches = [held.plain(scene.rng) for _ in range(3)]
    expected = [held.expected(each) for each in batches]
    count = scene.rng.choice([2, 3, 4])
    scene.say(f"{held.name} shared by {count} threads")
    begin, wrong = threading.Barrier(count), list[BaseException]()

    def use(first: int) -> None:
        try:
            begin.wait()
            for turn in range(6):
                i = (first + turn) % len(batches)
                compare(held, held.answer(one_or_all(batches[i])), expected[i], " shared")
        except BaseException as error:  # an error in a thread would otherwise be lost
            wrong.append(error)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]
    held.check_state()


def forked(scene: Scene) -> None:
    """Fork a child that answers, and that trains its own copy."""
    held = scene.take()
    if held is None or not hasattr(os, "fork"):
        return
    inputs = held.plain(scene.rng)
    expected = held.expected(inputs)
    scene.say(f"{held.name} in a forked child")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads exist, as intended
        child = os.fork()
    if child == 0:
        code = 9
        try:
            compare(held, held.answer(one_or_all(inputs)), expected, " forked")
            if held.trains and held.kind == "numpy":
                y = np.arange(len(one_or_all(inputs))) % nets.CLASSES
                held.it.loss_and_grads(one_or_all(inputs), y, training=False)
            code = 0
        except Find:
            code = 8
        finally:
            os._exit(code)
    end = time.monotonic() + PROCESS_SECONDS
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise Find(f"a forked child hangs with {held.name}")
        time.sleep(0.002)
    inputs = held.plain(scene.rng)
    held.check_answer(inputs, one_or_all(inputs), " after a fork")


def spawned(scene: Scene) -> None:
    """Send an object to another process as a pickle."""
    held = scene.take("numpy", "predictor", "standalone")
    if held is None or scene.rng.random() < 0.7:  # each takes a second
        return
    inputs = held.plain(scene.rng)
    scene.say(f"{held.name} in a spawned process")
    path = scene.folder / "spawned.pickle"
    path.write_bytes(pickle.dumps((held.it, one_or_all(inputs))))
    code = (
        "import pickle, sys; sys.path.insert(0, sys.argv[2]);"
        "it, x = pickle.load(open(sys.argv[1], 'rb'));"
        "pickle.dump(it.forward(x), open(sys.argv[1], 'wb'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path, scene.folder],
        capture_output=True, text=True, check=False, timeout=PROCESS_SECONDS,
    )  # fmt: skip
    if done.returncode:
        raise Find(f"a spawned process: {done.stderr}")
    given = pickle.loads(path.read_bytes())
    answers = given if isinstance(given, Mapping) else {next(iter(held.graph.outputs)): given}
    compare(held, answers, held.expected(inputs), " spawned")


def interrupted(scene: Scene) -> None:
    """Interrupt an answer at any moment. The next one must be right."""
    held = scene.take("numpy", "predictor", "standalone", "torch")
    if held is None:
        return
    inputs = held.plain(scene.rng)
    seconds = scene.rng.uniform(1e-5, 5e-3)
    scene.say(f"{held.name} interrupted after {seconds * 1e3:.2f} ms")
    by_signal(lambda: [held.it.forward(one_or_all(inputs)) for _ in range(100)], seconds)
    held.check_answer(inputs, one_or_all(inputs), " after an interrupt")


def loss(scene: Scene) -> None:
    """Check a loss and its gradients against those of an undisturbed twin."""
    held = scene.take_trained()
    if held is None or held.kind != "numpy":
        return
    training = scene.rng.random() < 0.5
    inputs = held.plain(scene.rng, scene.rng.choice([2, 3, 8, 17]))
    x = one_or_all(inputs)
    y = np.random.default_rng(2).integers(0, nets.CLASSES, len(x))
    l2 = scene.rng.choice([0.0, 0.0, 0.1])
    name = scene.rng.choice([*LOSSES_OF_CLASSES])
    scene.say(f"{held.name}.loss_and_grads of {len(x)}, {name}, l2 {l2}, training={training}")
    twin = _twin(held)
    twin.random_state = held.it.random_state
    ours = held.it.loss_and_grads(x, y, l2=l2, loss=name, training=training)
    theirs = twin.loss_and_grads(x, y, l2=l2, loss=name, training=training)
    if ours[0] != theirs[0]:
        raise Find(f"the loss of {held.name} is {ours[0]!r}, its twin's {theirs[0]!r}")
    _require_equal(held, ours[1], theirs[1], "gradient")
    held.state = twin.state_dict()
    held.check_state()


def fit(scene: Scene) -> None:
    """Train with any options, and compare with an undisturbed twin."""
    held = scene.take_trained()
    if held is None:
        return
    rng = scene.rng
    shape = next(iter(held.shapes(rng).values()))
    if open_sizes(held.graph):
        shape = tuple(n if isinstance(n, int) else 6 for n in shape)
    data = good_data(rng, shape, nets.CLASSES)
    options: dict[str, Any] = {
        "epochs": rng.choice([1, 1, 2]), "batch": rng.choice([1, 2, 4, 16, 1000]),
        "optimizer": rng.choice([*OPTIMIZERS]), "lr": rng.choice([1e-3, 1e-4]),
        "schedule": rng.choice([*SCHEDULES]),
        "loss": rng.choice([*LOSSES_OF_CLASSES]), "l2": rng.choice([0.0, 1e-3]),
        "seed": rng.randrange(100), "normalize": rng.choice(["none", "unit", "channel", "mean-image"]),
        "warmup": rng.choice([0, 1]), "clip_norm": rng.choice([None, 1.0]),
        "eval_every": rng.choice([0, 1]),
    }  # fmt: skip
    scene.say(f"fit({held.name}, {data.name}, {options})")
    twin = _twin(held)
    results = [_attempt(lambda m=m: netspec.fit(m, data, **options)) for m in (held.it, twin)]
    if type(results[0]) is not type(results[1]):
        raise Find(f"fit of {held.name} gives {results[0]!r}, its twin {results[1]!r}")
    if isinstance(results[0], netspec.NetspecError):
        if str(results[0]) != str(results[1]):
            raise Find(f"fit of {held.name} says {results[0]}, its twin {results[1]}")
    elif results[0].loss_history != results[1].loss_history and held.kind == "numpy":
        raise Find(f"the losses of {held.name} are not its twin's")
    held.state = twin.state_dict()
    if held.kind == "numpy":
        held.check_state()
    else:
        own = held.own_state()
        _require_close(held, own, held.state)
        held.state = own
    if not all(np.isfinite(a).all() for a in held.state.values()):
        scene.held.remove(held)


def refuse_training(scene: Scene) -> None:
    """Check that wrong arguments of training are rejected, and leave the model as it was."""
    held = scene.take_trained()
    if held is None:
        return
    shape = tuple(n if isinstance(n, int) else 6 for n in next(iter(held.graph.inputs.values())))
    data = good_data(scene.rng, shape, nets.CLASSES)
    option, value = scene.rng.choice([
        ("epochs", 0), ("epochs", -1), ("epochs", 1.5), ("epochs", "3"), ("batch", 0),
        ("optimizer", "SGD"), ("optimizer", None), ("lr", -1.0), ("lr", "fast"),
        ("lr", float("nan")), ("lr", float("inf")), ("schedule", "cosinus"), ("loss", "hinge"),
        ("l2", -1), ("l2", float("nan")), ("clip_norm", 0), ("seed", -1), ("seed", 1.0),
        ("val", -1), ("val", 10**9), ("normalize", "zscore"), ("augment", ("spin",)),
        ("train_limit", 0), ("keep", "best"), ("optimizer_options", {"momentun": 0.1}),
        ("schedule_options", {"gama": 0.1}), ("loss_options", {"margin": 1}), ("warmup", -1),
        ("eval_every", -1), ("out", "no/such/folder/w.safetensors"),
    ])  # fmt: skip
    scene.say(f"fit({held.name}, {data.name}, {option}={value!r})")
    if option == "out":  # only known at the end, so the weights may have changed
        scene.refused(
            lambda: netspec.fit(copy.deepcopy(held.it), data, epochs=1, out=value), option
        )
    else:
        scene.refused(lambda: netspec.fit(held.it, data, **{option: value}), f"{option}={value!r}")
    held.check_state()


def refuse_data(scene: Scene) -> None:
    """Check that wrong data sets are rejected, and wrong objects in place of models and data sets."""
    arguments = bad_data(scene.rng, (2, 6, 6), nets.CLASSES)
    scene.say(f"Dataset of {[getattr(a, 'dtype', a) for a in arguments]}")
    scene.refused(lambda: netspec.Dataset(*arguments), "Dataset")
    held = scene.take_trained()
    if held is None:
        return
    wrong = scene.rng.choice([None, "digits", 3, (1, 2), held.net, np.zeros(3)])
    scene.say(f"fit({held.name}, {type(wrong).__name__})")
    scene.refused(lambda: netspec.fit(held.it, wrong), f"data {wrong!r}")
    scene.refused(lambda: netspec.fit(wrong, wrong), f"model {wrong!r}")


def refuse_state(scene: Scene) -> None:
    """Check that wrong parameters are rejected, and leave the model as it was."""
    held = scene.take("numpy", "torch")
    if held is None or not held.state:
        return
    state: dict[str, Any] = dict(held.state)
    name = scene.rng.choice(list(state))
    way = scene.rng.choice(
        ["missing", "more", "shape", "text", "complex", "None", "list", "object"]
    )
    if way == "missing":
        if name.endswith("num_batches_tracked"):
            return
        del state[name]
    elif way == "more":
        state["more"] = np.zeros(2)
    else:
        shape = np.shape(state[name])
        state[name] = {
            "shape": np.zeros((*shape, 2)), "text": np.full(shape, "a"), "None": None,
            "complex": np.zeros(shape, complex), "list": [[1.0], [2.0, 3.0]],
            "object": np.full(shape, None),
        }[way]  # fmt: skip
    scene.say(f"{held.name}.load_state_dict with {way} for {name}")
    scene.refused(lambda: held.it.load_state_dict(state), f"{way} for {name}")
    held.check_state()


def load_state(scene: Scene) -> None:
    """Load parameters of another seed, in one form or another."""
    held = scene.take("numpy", "torch")
    if held is None:
        return
    seed = scene.rng.randrange(1000)
    other = held.net.compile(seed=seed, dtype=held.dtype).state_dict()
    form = scene.rng.choice(["arrays", "lists", "float64", "Fortran", "backwards"])
    scene.say(f"{held.name}.load_state_dict of seed {seed}, as {form}")
    given: dict[str, Any] = {
        "arrays": other,
        "lists": {n: a.tolist() for n, a in other.items()},
        "float64": {n: a.astype("f8") if a.dtype.kind == "f" else a for n, a in other.items()},
        "Fortran": {n: np.asarray(a, order="F") for n, a in other.items()},
        "backwards": dict(reversed(other.items())),
    }[form]
    held.it.load_state_dict(given)
    held.state = other
    held.check_state()


def assign(scene: Scene) -> None:
    """Assign another value to a parameter."""
    held = scene.take("numpy")
    names = [n for n, a in held.state.items() if a.dtype.kind == "f"] if held else []
    if held is None or not names:
        return
    name = scene.rng.choice(names)
    value = held.state[name] * 0.5 + 0.01
    scene.say(f"{held.name}.parameters[{name!r}] = half of it")
    if scene.rng.random() < 0.5:
        held.it.parameters[name] = value
    else:
        held.it.parameters[name][...] = value
    held.state = {**held.state, name: value.astype(held.dtype)}
    held.check_state()


def freeze(scene: Scene) -> None:
    """Freeze some parameters, which are then no longer trained."""
    held = scene.take_trained()
    if held is None:
        return
    some = [p.name for p in held.graph.trainable()][:-1]
    held.frozen = frozenset(scene.rng.sample(some, scene.rng.randint(0, len(some))))
    scene.say(f"{held.name}.freeze({sorted(held.frozen)})")
    held.it.freeze(held.frozen)
    held.check_state()


def weights_file(scene: Scene) -> None:
    """Save parameters to a file, and load them into an object of the same net."""
    held = scene.take("numpy", "torch", "standalone")
    if held is None:
        return
    path = scene.folder / f"{held.name}.safetensors"
    scene.say(f"weights of {held.name} through a file")
    trained = hasattr(held.it, "save_weights")
    if trained:
        held.it.save_weights(path)
    else:
        netspec.save_weights(path, held.own_state())
    found = netspec.load_weights(str(path)).tensors
    _require_equal(held, found, held.state, "saved")
    if held.kind == "standalone":
        held.it.load_weights(path)
    else:
        held.it.load_state_dict(found)
    held.check_state()


def drop(scene: Scene) -> None:
    """Drop an object."""
    held = scene.take()
    if held is None:
        return
    scene.say(f"del {held.name}")
    scene.held.remove(held)
    if scene.rng.random() < 0.2:
        gc.collect()


def threads(scene: Scene) -> None:
    """Set another number of threads, from here on."""
    count = scene.rng.choice([1, 2, 2, 3, 4])
    scene.say(f"{count} threads")
    parallel.set_threads(count)


ORDINARY_WORTH = {n: getattr(parallel, n) for n in ("WORTH_A_THREAD", "WORTH_A_PART")}


def share_any_work() -> None:
    """Let threads share even little work.

    This is done before any object is made: unlike the number of threads, which recordings know,
    these constants are private, and a run that was recorded keeps the shares it was recorded with.
    """
    for name in ORDINARY_WORTH:
        setattr(parallel, name, 1)


def describe(scene: Scene) -> None:
    """Check that a net describes itself the same way twice, and after it was pickled."""
    held = scene.take()
    if held is None:
        return
    scene.say(f"the net of {held.name} described")
    other = pickle.loads(pickle.dumps(held.net))
    batch = scene.rng.choice([1, np.int64(3), 7])
    for what in (
        str, repr, lambda net: str(net.summary(batch)),
        lambda net: net.source("numpy"), lambda net: net.source("torch"),
        lambda net: net.source("numpy", training=False),
    ):  # fmt: skip
        if what(held.net) != what(other):
            raise Find(f"the net of {held.name} and its copy part")
    scene.refused(lambda: held.net(np.zeros(3)), "a net that is called")
    target: Any = scene.rng.choice(["jax", None, 3])
    scene.refused(lambda: held.net.compile(target), f"target {target}")


def check_gradients(scene: Scene) -> None:
    """Check gradients against finite differences with the public function."""
    held = scene.take_trained()
    if held is None or held.kind != "numpy" or scene.rng.random() < 0.5:
        return
    inputs = held.plain(scene.rng, 4)
    x = one_or_all(inputs)
    scene.say(f"gradcheck of {held.name}")
    found = netspec.gradcheck(held.it, x, np.arange(4) % nets.CLASSES)
    rows = found.to_dict()
    if any(row.get("verdict") == "failed" for row in rows.get("rows", [])):
        raise Find(f"gradcheck of {held.name} fails:\n{found}")
    held.check_state()


def _twin(held: Held) -> Any:
    """Return an undisturbed model with the same parameters."""
    kind = held.kind
    twin = held.net.compile(kind, dtype=held.dtype, seed=0)  # type: ignore[call-overload]
    twin.load_state_dict(held.state)
    if held.frozen:
        twin.freeze(held.frozen)
    return twin


def _attempt(call: Callable[[], Any]) -> Any:
    """Return the result of a call, or netspec's error."""
    try:
        return call()
    except netspec.NetspecError as error:
        return error


def _require_equal(held: Held, ours: State, theirs: State, what: str) -> None:
    if set(ours) != set(theirs):
        raise Find(f"{what} of {held.name}: {sorted(ours)}, not {sorted(theirs)}")
    for name, array in theirs.items():
        if not np.array_equal(ours[name], array, equal_nan=True):
            raise Find(f"{what} `{name}` of {held.name} is not its twin's")


def _require_close(held: Held, ours: State, theirs: State) -> None:
    for name, array in theirs.items():
        if not np.allclose(ours[name], array, rtol=1e-3, atol=1e-4, equal_nan=True):
            raise Find(f"`{name}` of {held.name} is not its twin's")


# The steps, and how often each is taken, relative to the others.
STEPS: dict[Callable[[Scene], None], int] = {
    make: 8, answer: 12, again: 6, refuse_input: 6, strange_numbers: 3, predictor: 4, copied: 5,
    shared: 4, forked: 2, spawned: 1, interrupted: 4, loss: 4, fit: 4, refuse_training: 3,
    refuse_data: 1, refuse_state: 3, load_state: 3, assign: 3, freeze: 2, weights_file: 3, drop: 3,
    threads: 2, describe: 1, check_gradients: 1,
}  # fmt: skip


def chosen(rng: random.Random) -> Callable[[Scene], None]:
    """Return a step."""
    return rng.choices(list(STEPS), list(STEPS.values()))[0]
