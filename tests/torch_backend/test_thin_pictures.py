"""Pictures of height or width 1 next to permutes, where PyTorch's norms of pictures are wrong."""

import pytest

pytest.importorskip("torch")


import netspec
from tests.helpers.thin_nets import check_net
from tests.helpers.torch_support import check_equal, check_text

pytestmark = pytest.mark.usefixtures("one_thread")


def text_of(shape, layers):
    return f"net N {{\n    input image: {shape}\n    output image -> {layers}\n}}\n"


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("shape", "layers"),
    [
        ("[5, 1, 4]", "permute([3, 2, 1]) -> batch_norm"),
        ("[5, 4, 1]", "permute([2, 3, 1]) -> batch_norm"),
        ("[5, 4, 1]", "permute([2, 1, 3]) -> batch_norm(affine = false)"),
        ("[4, 1, 5]", "batch_norm -> permute([3, 1, 2])"),
        ("[4, 1, 5]", "batch_norm -> permute([2, 3, 1]) -> relu"),
        ("[4, 5, 1]", "batch_norm -> permute([2, 1, 3])"),
        ("[5, 4, 1]", "permute([2, 3, 1]) -> tanh -> batch_norm -> relu"),
        ("[4, 3, 5]", "instance_norm -> permute([2, 3, 1])"),
        ("[4, 1, 5]", "instance_norm(affine = true) -> permute([3, 1, 2])"),
        ("[3, 1, 4]", "reshape([3, 4]) -> permute([2, 1]) -> reshape([4, 1, 3]) -> batch_norm"),
    ],
)
def test_norms_next_to_a_permute(shape, layers, batch):
    net = netspec.loads(text_of(shape, layers))
    assert "wrong in PyTorch" in net.source("torch")
    check_equal(net, batch=batch)


def test_a_gradient_that_matmul_turns_round():
    net = netspec.loads("""net N {
        input a: [3, 5]
        input b: [4, 1, 5]
        c = b -> batch_norm -> reshape([4, 5]) -> permute([2, 1])
        output matmul(a, c)
    }""")
    check_equal(net)


@pytest.mark.parametrize("sizes", [{"H": 1, "W": 5}, {"H": 5, "W": 1}, {"H": 3, "W": 4}])
@pytest.mark.parametrize("layers", ["permute([3, 2, 1]) -> permute([3, 2, 1]) -> n.0: batch_norm"])
def test_sizes_left_open_that_can_be_one(layers, sizes):
    check_text(text_of("[4, H, W]", f"{layers} -> n.1: relu -> permute([2, 3, 1])"), sizes)


def test_sizes_that_arguments_can_make_one():
    net = netspec.loads("""
        block Norm() x { return x -> norm: batch_norm }
        net N(w = 5) {
            input x: [4, 2, w]
            output x -> Norm -> max_pool(2) -> Norm -> permute([3, 1, 2])
        }""")
    check_equal(net)


@pytest.mark.parametrize(
    "text",
    [
        text_of("[4, H, W]", "conv(3, 3, pad = 1) -> batch_norm -> instance_norm"),  # no permute
        text_of("[4, 6, 5]", "batch_norm -> conv(3, 3, pad = 1) -> permute([2, 3, 1])"),
        text_of("[4, H, H]", "batch_norm -> permute([2, 3, 1])"),  # both sides or none
        text_of("[4, 1, 1]", "batch_norm -> permute([2, 3, 1])"),
        text_of("[1, 1, 5]", "batch_norm -> permute([2, 3, 1])"),
    ],
)
def test_norms_that_are_right_stay_as_they_are(text):
    source = netspec.loads(text).source("torch")
    assert "nn.BatchNorm2d(" in source
    assert "unflatten" not in source


@pytest.mark.parametrize("first", [0, pytest.param(300, marks=pytest.mark.heavy)])
def test_random_nets_of_thin_pictures(first):
    checked = 0
    for seed in range(first, first + (300 if first else 12)):
        assert list(check_net(seed)) == []
        checked += 1
    assert checked
