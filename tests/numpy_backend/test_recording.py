"""Recorded runs give what the kernels give, bit for bit, and refuse where they cannot."""

from __future__ import annotations

import itertools
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netspec
from netspec.kernels import arrays, parallel
from netspec.kernels.arrays import strided
from netspec.runtime.engine.program import Program, make_plan
from netspec.runtime.engine.record import lanes as scheduling
from netspec.runtime.engine.record.recorder import Recorder
from netspec.runtime.models.numpy_model import Model
from netspec.testing.op_examples import (
    agreement,
    graph_of,
    random_inputs,
    random_output_gradients,
    random_parameters,
)
from tests.conftest import ROOT
from tests.helpers.heavy import some_heavy
from tests.helpers.op_parameters import two_of_each_quick


@pytest.fixture(params=some_heavy([1, 3], [1]))
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use this many threads, even for little work."""
    monkeypatch.setattr(parallel, "_threads", request.param)
    monkeypatch.setattr(parallel, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(parallel, "WORTH_A_PART", 1)
    monkeypatch.setattr(scheduling, "WORTH_A_THREAD", 0.0)


def assert_same(ours, theirs) -> None:
    """Check that both are equal, bit for bit."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            assert_same(ours[name], theirs[name])
        return
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def recording_of(predictor):
    """Return the recording of the batch size that was last used."""
    return list(predictor._prepared)[-1].recording


# ------------------------------------------------------------------------------------ predictors


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("example", two_of_each_quick())
def test_every_op_is_recorded(example) -> None:
    model = Model(graph_of(example.call, example.inputs), seed=1)
    predictor = model.predictor()
    for batch in (1, 3):
        for seed in (1, 2, 3):
            x = random_inputs(model.graph, batch, seed)
            assert_same(predictor(x), model.forward(x))
        assert recording_of(predictor) is not None


def test_a_predictor_keeps_the_parameters_it_was_made_with() -> None:
    model = netspec.load(ROOT / "networks/resnet.net", depth=8, width=4).compile("numpy", seed=3)
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype("f4")
    predictor, before = model.predictor(), model.forward(x)
    assert agreement(predictor(x), before) < 1e-5
    for array in model.parameters.values():
        array += 1
    assert agreement(predictor(x), before) < 1e-5
    assert agreement(model.predictor()(x), model.forward(x)) < 1e-5
    assert agreement(model.forward(x), before) > 1e-2


def test_what_comes_of_the_parameters_alone_is_computed_once() -> None:
    resnet = netspec.load(ROOT / "networks/resnet.net", depth=8, width=4)
    predictor = resnet.compile("numpy").predictor()
    predictor(np.zeros((1, 3, 32, 32), "f4"))
    recording = recording_of(predictor)
    functions = {call.function for call in recording.calls()}
    assert np.sqrt not in functions  # of a batch norm's variance
    assert np.matmul in functions
    plan = make_plan(resnet.graph, training=False, backward=False)
    assert sum(1 for step in plan.forward if "running_scale_shift" in str(step)) == 9


def test_a_predictor_takes_what_forward_takes() -> None:
    model = netspec.load(ROOT / "networks/lenet.net").compile("numpy")
    predictor = model.predictor()
    rng = np.random.default_rng(0)
    for x in (
        rng.standard_normal((2, 1, 28, 28)),  # float64
        rng.standard_normal((2, 1, 28, 28)).astype("f4"),
        rng.standard_normal((2, 28, 28, 1)).astype("f4").transpose(0, 3, 1, 2),
        rng.integers(0, 256, (2, 1, 28, 28)),
        rng.standard_normal((5, 1, 28, 28)).astype("f4").tolist(),
    ):
        first, given = predictor(x), np.array(x)
        assert agreement(first, model.forward(x)) < 1e-6
        np.testing.assert_array_equal(np.asarray(x), given)
        first[...] = np.nan  # it belongs to the caller
        assert agreement(predictor(x), model.forward(x)) < 1e-6
    with pytest.raises(netspec.NetspecError, match="must be of shape"):
        predictor(np.zeros((2, 1, 28, 27), "f4"))
    assert np.isnan(predictor(np.full((2, 1, 28, 28), np.nan))).all()
    assert np.isfinite(predictor(np.zeros((2, 1, 28, 28)))).all()


def test_a_predictor_of_open_sizes_and_several_inputs() -> None:
    net = netspec.loads("""net Pair {
        input left: [3, H, W]
        input right: [3, H, W]
        both = (left, right) -> concat -> conv(4, 3, pad = 1) -> batch_norm -> relu
        output first = both -> global_avg_pool -> linear(2)
        output second = both
    }""")
    model = net.compile("numpy")
    predictor = model.predictor()
    rng = np.random.default_rng(0)
    for size in ((5, 7), (8, 8), (5, 7)):
        x = {name: rng.standard_normal((2, 3, *size)) for name in ("left", "right")}
        assert_same(predictor(x), model.forward(x))
        assert_same(predictor(x), model.forward(x))
        assert recording_of(predictor) is not None


def test_few_batch_sizes_are_remembered() -> None:
    """This holds for predictors and models, because a recording takes memory."""
    model = netspec.load(ROOT / "networks/threelayer.net", hidden=5).compile("numpy")
    predictor = model.predictor()
    for batch in range(12, 0, -1):  # largest first: a larger one would take new memory
        predictor(np.zeros((batch, *model.input_shape), "f4"))
        model.forward(np.zeros((batch, *model.input_shape), "f4"))
    ((program,),) = model._programs
    with program.memory() as memory:
        assert len(predictor._prepared) == len(memory.bound) == 8


# -------------------------------------------------------------------------------------- training


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("example", two_of_each_quick())
def test_every_op_runs_from_its_recording(example, training) -> None:
    graph = graph_of(example.call, example.inputs)
    plan = make_plan(graph, training=training, input_gradients=True)
    runs = []
    for replays in (True, False):
        program = Program(graph, plan, np.dtype("f4"), replays=replays)
        parameters = {
            name: values if values.dtype.kind == "i" else values.astype("f4")
            for name, values in random_parameters(graph).items()
        }
        gradients = {p.name: np.empty(p.shape, "f4") for p in graph.trainable()}
        buffers, found = program.bind(3), []
        for step in range(5):
            for name, x in random_inputs(graph, 3, step).items():
                buffers[plan.inputs[name].name][...] = x
            program.sample(buffers, np.random.default_rng(step))
            program.forward(buffers, parameters)
            found += [buffers[b.name].copy() for b in plan.outputs.values()]
            for name, dy in random_output_gradients(graph, 3, step).items():
                buffers[plan.output_gradients[name].name][...] = dy
            program.backward(buffers, parameters, gradients)
            found += [buffers[b.name].copy() for b in plan.input_gradients.values()]
            found += [g.copy() for g in (*gradients.values(), *parameters.values())]
        runs.append(found)
        assert all(replay.recorded == replays for replay in buffers.replays.values())
    for ours, theirs in zip(*runs, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_step_that_looks_at_parameters_is_recorded() -> None:
    # From its second run on a program has the views of parameters that it made in the first.
    sizes = {"width": 16, "layers": 1, "heads": 2, "positions": 4, "T": 4}
    net = netspec.load(ROOT / "networks/zoo/gpt2.net", vocabulary=7, **sizes)
    plan = make_plan(net.graph, training=True)
    program = Program(net.graph, plan, np.dtype("f4"), replays=True)
    parameters = {name: a.astype("f4") for name, a in random_parameters(net.graph).items()}
    gradients = {name: np.empty_like(a) for name, a in parameters.items()}
    buffers = program.bind(2)
    for buffer in (*plan.inputs.values(), *plan.output_gradients.values()):
        buffers[buffer.name][...] = 1
    for _ in range(2):
        program.forward(buffers, parameters)
        program.backward(buffers, parameters, gradients)
    assert any(name.endswith(".stored") for name in buffers)
    assert {name: replay.recorded for name, replay in buffers.replays.items()} == {
        "forward": True, "backward": True,
    }  # fmt: skip


@pytest.mark.usefixtures("threads")
def test_a_model_trains_alike_with_and_without_recordings() -> None:
    net = netspec.loads("""net Small {
        input image: [3, 12, 12]
        output image -> conv(8, 3, pad = 1, bias = false) -> batch_norm -> relu -> max_pool(2)
               -> conv(8, 3) -> gelu -> dropout(0.3) -> avg_pool(2) -> flatten -> linear(5)
    }""")
    rng = np.random.default_rng(0)
    models = [net.compile("numpy", seed=1) for _ in range(2)]
    for step in range(8):
        batch = 4 if step == 5 else 7
        x = rng.standard_normal((batch, 3, 12, 12)).astype("f4")
        y = rng.integers(0, 5, batch)
        losses = []
        for model, replays in zip(models, (True, False), strict=True):
            losses.append(model.loss_and_grads(x, y, l2=1e-3)[0])
            model.flat_parameters -= 0.1 * model.flat_gradients
            for program in next(iter(model._programs)):
                program._replays = replays
        assert losses[0] == losses[1]
        assert_same(models[0].forward(x), models[1].forward(x))
    for name, array in models[0].parameters.items():
        np.testing.assert_array_equal(array, models[1].parameters[name])


# ------------------------------------------------------------------------------------- recording


def record(function, *, fold: bool = False, calls: int = 2):
    """Record `function(x, out)` on other numbers each time.

    Return the recording and the last result.
    """
    x, out = np.zeros((3, 4)), np.zeros((3, 4))
    rng = np.random.default_rng(0)
    found = []
    for _ in range(calls):
        x[...], out[...] = rng.standard_normal(x.shape), 7
        recorder = Recorder(fold=fold)
        recorded = recorder.array(x), recorder.array(out)
        function(*recorded)
        found.append(recorder.recording([out]))
    return found, x, out


def made_again(function, *, fold: bool = False) -> bool:
    """Whether a function is recorded, and the recording then gives its results on other numbers."""
    (first, second), x, out = record(function, fold=fold)
    done = out.copy()
    function(x, out)
    np.testing.assert_array_equal(out, done)  # recording must not change the result
    if first is None or first.digest != second.digest:
        return False
    x[...] = np.random.default_rng(1).standard_normal(x.shape)
    out[...] = 7
    function(x, out)
    expected = out.copy()
    out[...] = 7
    second.run()
    np.testing.assert_array_equal(out, expected)
    return True


CONSTANT = arrays.fixed(np.arange(4.0))


def by_parts(x, out):
    out.fill(1)
    out[1:] *= x[1:]
    out[0] = np.add.reduce(x, axis=0) + CONSTANT


def by_copies(x, out):
    turned = x.T.copy().reshape(-1)
    out.reshape(-1)[...] = (
        np.tile(turned[:6], 2).astype("f4") + np.concatenate([turned, turned])[6:18]
    )


def by_new_arrays(x, out):
    total = np.zeros_like(x)
    for row in x:
        total += np.maximum(row, 0) * np.where(row > 0, 1, -1)
    np.exp(total, out=out)


def by_strides(x, out):
    step = x.strides[1]
    out[:, :3] = strided(x, (3, 3, 2), (4 * step, step, step)).sum(axis=2)
    np.copyto(out[:, 3], x[:, 0], where=arrays.fixed(np.array([True, False, True])))


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("function", [by_parts, by_copies, by_new_arrays, by_strides])
def test_what_numpy_does_is_made_again(function, fold) -> None:
    assert made_again(function, fold=fold)


def branch_on_a_sum(x, out):
    if x.sum() > 0:
        np.add(x, 1, out=out)
    else:
        np.subtract(x, 1, out=out)


def by_a_number(x, out):
    np.multiply(x, float(x[0, 0]), out=out)


def by_count(x, out):
    out[...] = np.count_nonzero(x > 0)


def by_index(x, out):
    out.reshape(-1)[x.reshape(-1).argsort()] = x.reshape(-1)


def by_sorting(x, out):
    out[...] = x
    out[1].sort()


def by_flat(x, out):
    out.flat[3] = x.flat[2]


def by_an_array_from_elsewhere(x, out):
    np.add(x, np.asarray(x) * 2, out=out)


def by_rows_that_are_chosen(x, out):
    out[...] = x[x[:, 0] > 0].sum()


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        branch_on_a_sum,
        by_a_number,
        by_count,
        by_index,
        by_sorting,
        by_flat,
        by_an_array_from_elsewhere,
        by_rows_that_are_chosen,
    ],
)
def test_what_depends_on_the_numbers_is_not_recorded(function, fold) -> None:
    assert not made_again(function, fold=fold)


@pytest.mark.parametrize("fold", [False, True])
def test_a_branch_is_recorded_as_one(fold) -> None:
    assert made_again(lambda x, out: arrays.as_one(branch_on_a_sum, x, out), fold=fold)


def test_memory_is_used_again_but_not_by_another_thread(monkeypatch) -> None:
    monkeypatch.setattr(scheduling, "WORTH_A_THREAD", 0.0)

    def part(rows, x, out):
        for row in range(rows.start, rows.stop):
            out[row] = np.exp(x[row]) + np.log1p(np.abs(x[row]))

    def function(x, out):
        with parallel.in_place_of_run(x.recorder.fork):
            parallel.run(part, [(slice(0, 1), x, out), (slice(1, 3), x, out)])

    (recording, _), _, out = record(function)
    done = out.copy()
    for _ in range(20):  # first both ways, then the faster one
        out[...] = 0
        recording.run()
        np.testing.assert_array_equal(out, done)
    assert [len(section.lanes) for section in recording.sections] == [2]
    assert len(recording.own) == 2 * 3  # for three rows: the second of a thread takes what is free


# ------------------------------------------------------------------------------------ scheduling


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=25), st.integers(0, 70))
def test_spans_are_a_set_of_bytes(pieces, at) -> None:
    spans, bytes_in = scheduling.Spans(), set()
    for start, length in pieces:
        spans.add((start, start + length))
        bytes_in |= set(range(start, start + length))
    found = list(spans)
    assert {b for start, stop in found for b in range(start, stop)} == bytes_in
    assert all(a[1] < b[0] for a, b in itertools.pairwise(found))
    assert spans.touches((at, at + 3)) == bool(bytes_in & {at, at + 1, at + 2})


def tasks_of(sections: list[list[list[tuple[int, int]]]]) -> list[scheduling.Task]:
    """Return tasks that read one byte and write another: by section, lane and task."""
    return [
        scheduling.Task(
            scheduling.NumpyCall(print, ((section, lane, i),)), ((r, r + 1),), ((w, w + 1),), 1.0,
            section, lane,
        )
        for section, lanes in enumerate(sections)
        for lane, pairs in enumerate(lanes)
        for i, (r, w) in enumerate(pairs)
    ]  # fmt: skip


def shown(sections: tuple[scheduling.LaneSection, ...]) -> list[list[list[int]]]:
    return [[[c.arguments[0][0] for c in lane] for lane in s.lanes] for s in sections]


def test_parts_that_need_not_wait_are_strung_together() -> None:
    # Two lanes, for images 0 and 1, with three kernels each; then a sum of both; then two lanes
    # again.
    layers = [[[(10 * k, 10 * k + 10)], [(10 * k + 1, 10 * k + 11)]] for k in range(3)]
    total = [[(30, 40), (31, 40)]]
    apart = [[(40, 50)], [(40, 51)]]
    found = scheduling.schedule(tasks_of([*layers, total, apart]))
    assert shown(found) == [[[0, 1, 2], [0, 1, 2]], [[3, 3]], [[4], [4]]]


def test_a_sum_that_only_a_later_task_needs_makes_nobody_wait() -> None:
    parts = [[(0, 10)], [(1, 11)]]
    total = [[(10, 30), (11, 30)]]
    next_layer = [[(10, 20)], [(11, 21)]]
    found = scheduling.schedule(tasks_of([parts, total, next_layer]))
    assert shown(found) == [[[0, 2], [0, 2]], [[1, 1]]]


def test_what_nobody_waits_for_goes_to_the_lane_with_less_to_do() -> None:
    found = scheduling.schedule(tasks_of([[[(0, 10), (0, 11)], [(1, 12)]], [[(2, 20)]]]))
    assert shown(found) == [[[0, 0], [0, 1]]]


@given(st.data())
@settings(max_examples=200)
def test_every_order_that_threads_can_take_gives_the_same(data) -> None:
    cells = st.integers(0, 7)
    sections = []
    for _ in range(data.draw(st.integers(1, 6))):
        lanes: list[list[tuple[int, int]]] = []
        for _ in range(data.draw(st.sampled_from([1, 2, 3]))):
            pairs = data.draw(st.lists(st.tuples(cells, cells), min_size=1, max_size=3))
            lanes.append(pairs)
        written = [{w for _, w in lane} for lane in lanes]
        touched = [{x for pair in lane for x in pair} for lane in lanes]
        if any(
            written[i] & touched[j] for i in range(len(lanes)) for j in range(len(lanes)) if i != j
        ):
            lanes = [[pair for lane in lanes for pair in lane]]  # no kernel would cut it like that
        sections.append(lanes)
    tasks = tasks_of(sections)
    effects = {task.call.arguments[0]: (task.reads[0][0], task.writes[0][0]) for task in tasks}

    def done(order) -> list[int]:
        memory = list(range(8))
        for name in order:
            r, w = effects[name]
            memory[w] = hash((memory[r], memory[w], name))
        return memory

    expected = done(task.call.arguments[0] for task in tasks)
    found = scheduling.schedule(tasks)
    assert sorted(c.arguments[0] for s in found for c in s.calls) == sorted(effects)
    for pick in (min, max):
        order = []
        for section in found:
            lanes = [[c.arguments[0] for c in lane] for lane in section.lanes]
            while any(lanes):
                lane = pick((lane for lane in lanes if lane), key=lanes.index)
                order.append(lane.pop(0))
        assert done(order) == expected


def test_numbers_that_overflow_in_a_worker_are_no_warnings() -> None:
    """A loss that is not finite is reported by who reads it, in whichever thread it arose."""
    together = threading.Barrier(2, timeout=60)

    def overflow(x: np.ndarray) -> np.ndarray:
        together.wait()  # one of the two calls is a worker's
        return x * x

    x = np.full(8, 1e30, np.float32)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error")
        assert all(np.isinf(each).all() for each in parallel.run(overflow, [(x,), (x,)]))
