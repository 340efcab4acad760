"""The gradient of each parameter of every net that comes with netspec, in the compiled program."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import netspec
from tests.helpers.heavy import some_heavy
from tests.helpers.zoo import FILES as WIDE_FILES

NETWORKS = Path(__file__).parents[2] / "networks"

# Width and input are reduced; for ResNet-50 and DenseNet also the depth.
NETS = {
    "lenet": {},
    "threelayer": {"filters": 3, "kernel": 3, "hidden": 7, "weight_scale": 0.1},
    "resnet": {"depth": 8},
    "airbench": {"widths": [4, 6, 8], "deep": True},
    "zoo/alexnet": {"width": 0.125, "size": 63},
    "zoo/densenet121": {"width": 0.125, "size": 32, "layers": [2, 2, 2, 2]},
    "zoo/fully_connected": {"size": 8, "norm": True, "drop": 0.3},
    "zoo/mobilenet_v2": {"width": 0.125, "size": 32},
    "zoo/resnet18": {"width": 0.125, "size": 32},
    "zoo/resnet50": {"width": 0.125, "size": 32, "blocks": [1, 1, 1, 1]},
    "zoo/squeezenet1_0": {"width": 0.125, "size": 47},
    "zoo/vgg16": {"width": 0.0625, "size": 32},
}
# On 32x32 pictures its last batch norms normalise one number per image. With four images they
# amplify rounding by hundreds, and differences are only good to 1e-6; with twelve, to 1e-7.
BATCH = {"zoo/mobilenet_v2": 12}


def test_every_net_is_here():
    files = {str(p.relative_to(NETWORKS).with_suffix("")) for p in NETWORKS.rglob("*.net")}
    assert files == set(NETS) | WIDE_FILES


def assert_proved(report) -> None:
    assert report.ok, f"{report}\n{report.diagnostics}"
    for row in report.rows:
        assert row.kinks + row.unsure <= 0.1 * row.probes
        assert all(score.error <= 1e-7 for score in row.scores.values())


# These take longest. `test_a_net_as_a_whole` also moves all of their parameters, in one direction.
HEAVY = (
    "zoo/mobilenet_v2", "zoo/alexnet", "zoo/densenet121", "zoo/resnet18", "zoo/resnet50", "zoo/vgg16",
    "zoo/squeezenet1_0", "airbench",
)  # fmt: skip


@pytest.mark.parametrize(
    "name",
    some_heavy(NETS, HEAVY),
)
def test_each_parameter_of_a_net(name):
    net = netspec.load(NETWORKS / f"{name}.net", **NETS[name])
    # One direction moves a whole parameter. The modes take turns if a net has many parameters.
    many = len(net.graph.parameters) > 20
    report = netspec.gradcheck(
        net, directions=1 if many else 5, whole=False, mode="train" if many else "both",
        backend="numpy", batch=BATCH.get(name, 4),
    )  # fmt: skip
    assert_proved(report)
    rows = {row.name for row in report.rows}
    assert rows == {p.name for p in net.graph.trainable()} | set(net.graph.inputs)


@pytest.mark.parametrize("name", some_heavy([n for n in NETS if n != "resnet"], HEAVY))
def test_a_net_as_a_whole(name):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    net = netspec.load(NETWORKS / f"{name}.net", **NETS[name])
    report = netspec.gradcheck(net, directions=1, whole=True, batch=BATCH.get(name, 3))
    assert report.backends == ("numpy", "torch")
    assert_proved(report)


def test_a_three_layer_net_on_small_pictures():
    """It has the size of the CS231n notebook's own check."""
    net = netspec.load(NETWORKS / "threelayer.net", **NETS["threelayer"], size=16)
    assert net.graph.inputs == {"image": (3, 16, 16)}
    assert_proved(netspec.gradcheck(net, elements=20, backend="numpy"))


@pytest.mark.heavy
def test_resnet20_is_checked_within_a_minute():
    net = netspec.load(NETWORKS / "resnet.net")
    start = time.monotonic()
    report = netspec.gradcheck(net)
    assert time.monotonic() - start < 60
    assert_proved(report)
    assert [row.kind for row in report.rows] == ["all", "input"] * 2
