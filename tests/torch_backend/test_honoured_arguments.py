"""A generated class takes an argument only where its code honours it, and never mixes images."""

from __future__ import annotations

import inspect
import itertools

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import netspec  # noqa: E402
from netspec.compiler.ops import registry  # noqa: E402
from netspec.testing.op_examples import net_of, random_inputs  # noqa: E402
from tests.helpers.random_nets import random_net  # noqa: E402
from tests.helpers.torch_support import classes  # noqa: E402

GPT = """
    block Attention(dim, heads) x {
        q, k, v = split(x -> linear(3 * dim), 3, axis = 2)
        q = q -> reshape([-1, heads, dim // heads]) -> permute([2, 1, 3])
        k = k -> reshape([-1, heads, dim // heads]) -> permute([2, 1, 3])
        v = v -> reshape([-1, heads, dim // heads]) -> permute([2, 1, 3])
        return attention(q, k, v) -> permute([2, 1, 3]) -> reshape([-1, dim]) -> linear(dim)
    }
    block Block(dim, heads) x {
        x = x + (x -> layer_norm -> Attention(dim, heads))
        return x + (x -> layer_norm -> linear(4 * dim) -> gelu -> linear(dim))
    }
    net Gpt(dim = 48, heads = 4, depth = 2) {
        input x: [8, 48]
        for i in range(depth) { x = x -> blocks.{i}: Block(dim, heads) }
        output x -> layer_norm -> linear(10)
    }
"""

# The head and the body of a block for pictures of eight channels, its call, and the arguments that
# its class does not take.
BLOCKS = {
    "split": ("c", "a, b = split(x -> conv(2 * c, 1), 2)\n return a + b", "4", set()),
    "a part of a split": ("n", "a = split(x, n)[0]\n return a -> relu", "2", {"n"}),
    "slice": ("c, k", "return x -> conv(c, 1) -> slice(1, 0, c - k)", "4, 1", set()),
    "reshape": ("h", "return x -> flatten -> reshape([h, -1]) -> permute([2, 1])", "4", set()),
    "a quotient": ("r", "return x -> conv(x.channels // r, 1) -> relu", "2", set()),
    "a rest": ("r", "return x -> conv(1 + x.channels % r, 1)", "3", set()),
    "max": ("r", "return x -> conv(max(1, r), 1)", "4", set()),
    "max of an input": ("c", "return x -> conv(max(1, x.channels // 4), 1) -> conv(c, 1)", "4", set()),
    "min": ("r", "return x -> conv(min(r, 4), 1)", "2", set()),
    "round": ("f", "return x -> conv(round(f * 8), 1)", "0.5", set()),
    "an if": ("k", "if k > 1 { x = x -> relu }\n return x -> conv(4, k, pad = k // 2)", "3", set()),
    "a conditional": ("k", "return x -> conv(4 if k > 2 else 2, 1) -> conv(k, 1)", "3", set()),
    "an if of an unread one": ("k", "if k > 1 { x = x -> relu }\n return x -> tanh", "3", set()),
    "a loop": ("n", "for i in range(n) { x = x -> conv(8, 1) }\n return x", "2", set()),
    "a list": ("n", "return x -> conv([4, 6, 8][n], 1)", "1", set()),
    "a label": ("n", "return x -> c{n}: conv(n, 1)", "4", set()),
    "a power": ("n", "return x -> conv(2 ** n, 1)", "2", set()),
    "nothing lost": (
        "c, k, p", "return x -> conv(3 * c, k, pad = k // 2) -> dropout(p)", "2, 3, 0.1", set()
    ),
    "a residual": ("c", "return x + (x -> conv(c, 1))", "8", set()),
    "a block within": ("c", "return x -> Half(c) -> relu", "4", set()),
}  # fmt: skip
HALF = "block Half(c) x { return x -> conv(max(1, c // 2), 1) }\n"


def block_net(head: str, body: str, call: str) -> str:
    return (
        f"{HALF}block B({head}) x {{ {body} }}\n"
        f"net N {{ input x: [8, 4, 4]\n output x -> b: B({call}) }}"
    )


def parameters_of(module: object) -> dict[str, tuple[int, ...]]:
    return {name: tuple(t.shape) for name, t in module.state_dict().items()}


@pytest.mark.parametrize(("head", "body", "call", "lost"), BLOCKS.values(), ids=BLOCKS)
def test_an_argument_is_taken_only_where_the_code_honours_it(head, body, call, lost):
    net = netspec.loads(block_net(head, body, call))
    made = classes(net.source("torch"))["B"]
    taken = list(inspect.signature(made).parameters) if "__init__" in vars(made) else []
    assert not lost & set(taken)
    for name in lost:
        assert f"{name} = " in made.__doc__
    # The class with other values for its arguments equals the file with these values.
    values = dict(
        zip((n.strip() for n in head.split(",")), map(float, call.split(",")), strict=True)
    )
    known = {n: v if v != int(v) else int(v) for n, v in values.items()}
    own = [name for name in taken if name in known]
    for changes in itertools.product((0, 1, 2), repeat=len(own)):
        given = {
            **known,
            **{n: known[n] + c for n, c in zip(own, changes, strict=True) if n != "p"},
        }
        try:
            other = netspec.loads(block_net(head, body, ", ".join(map(str, given.values()))))
        except netspec.NetspecError:
            continue
        sizes = {name: 8 for name in taken if name not in known}
        theirs = made(**sizes, **{name: given[name] for name in own}).eval()
        ours = classes(other.source("torch"))["N"]().eval()
        assert parameters_of(theirs) == parameters_of(ours.b)
        theirs.load_state_dict(ours.b.state_dict())
        x = torch.randn(2, 8, 4, 4)
        torch.testing.assert_close(theirs(x), ours(x))


def test_a_case_that_no_call_of_the_file_meets_is_in_the_class():
    text = """
        block B(k) x { if k > 1 { x = x -> relu }
            return x -> conv(8, k, pad = k // 2) }
        net N { input x: [8, 4, 4]
            output x -> B(3) -> B(5) }"""
    made = classes(netspec.loads(text).source("torch"))["B"]
    x = -torch.rand(2, 8, 4, 4)
    for k in (1, 3):
        module = made(8, k)
        read = torch.relu(x) if k > 1 else x
        torch.testing.assert_close(module(x), module.conv1(read))


def same_images(module, x) -> None:
    """Check that each image's answer is the same alone and among others."""
    module.double().eval()
    with torch.no_grad():
        whole = module(*x)
        outputs = whole if isinstance(whole, tuple) else (whole,)
        for batch in (1, 2, 5):
            part = module(*(a[:batch] for a in x))
            for a, b in zip(part if isinstance(part, tuple) else (part,), outputs, strict=True):
                assert a.shape == (batch, *b.shape[1:])
                torch.testing.assert_close(a, b[:batch], rtol=1e-9, atol=1e-9)


def images_of(net: netspec.Net) -> list:
    return [torch.from_numpy(x) for x in random_inputs(net.graph, 5).values()]


def test_blocks_of_a_transformer():
    net = netspec.loads(GPT)
    made = classes(net.source("torch"))
    same_images(made["Gpt"](), images_of(net))
    assert list(inspect.signature(made["Attention"]).parameters) == ["in_features", "dim", "heads"]
    same_images(made["Block"](24, 24, 3), [torch.randn(5, 8, 24).double()])
    # A sequence of another length is not filled up from other images.
    same_images(made["Gpt"](), [torch.randn(5, 4, 48).double()])
    same_images(made["Block"](48, 48, 4), [torch.randn(5, 8, 48).double()])


EXAMPLES = [example for cls in registry().values() for example in cls.examples]


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{e.call}{e.inputs}" for e in EXAMPLES])
def test_every_op_keeps_images_apart(example):
    net = netspec.loads(net_of(example.call, example.inputs))
    source = net.source("torch")
    same_images(classes(source)["Example"](), images_of(net))


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10_000))
@example(181)  # a number that is fixed, in a chain of layers behind a decision
@pytest.mark.heavy
def test_random_nets_keep_images_apart(seed):
    net = netspec.loads(random_net(seed))
    same_images(classes(net.source("torch"))["Random"](), images_of(net))
