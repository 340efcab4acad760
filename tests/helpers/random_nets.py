"""Random valid nets with everything that bodies can contain: blocks, decisions, loops, shared
layers.

Every value is a picture of one shape, so that any layer and any block can follow any other.
"""

from __future__ import annotations

import random

SHAPE = "[4, 3, 3]"
_LAYERS = [
    "relu", "relu", "tanh", "sigmoid", "batch_norm", "group_norm(2)", "dropout(0.3)", "dropout(p)",
    "leaky_relu(p)", "scale", "scale(0.5)", "drop_path(0.2)", "silu",
    "max_pool(3, stride = 1, pad = 1)", "conv(4, 3, pad = 1)", "conv(4, 1, bias = false)",
    "conv(4, k, pad = k // 2)", "conv(4, 3, pad = same, groups = 2)",
    "conv(c, 1) -> conv(4, 1)", "conv(2 * c, k, pad = k // 2) -> relu -> conv(4, 1)",
    "flatten -> linear(c * 9) -> reshape([c, 3, 3]) -> conv(4, 1)",
    "reshape([4, 9]) -> permute([2, 1]) -> linear(4) -> permute([2, 1]) -> reshape([4, 3, 3])",
    "pad(1) -> conv(4, 3)", "noise", "channel_shuffle(2)", "layer_norm",
]  # fmt: skip
_CONDITIONS = ["f > 0", "f == 1", "not f == 1", "c == 3 or f > 1", "k > 1 and c > 2", "0 <= f < 2",
               "p > 0.2", "c >= f", "mode == \"a\"", "on", "c % 2 == 0"]  # fmt: skip
_ARGUMENTS = {"c": ["2", "3", "5"], "k": ["1", "3"], "p": ["0.1", "0.25"], "f": ["0", "1", "2"],
              "mode": ['"a"', '"b"'], "on": ["true", "false"]}  # fmt: skip
_HEAD = 'c = 3, k = 3, p = 0.25, f = 1, mode = "a", on = true'


class _Writer:
    """Writes one file."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.blocks: list[tuple[str, int, int]] = []  # name, number of inputs, number of results
        self.count = 0

    def text(self) -> str:
        """Return the text of the file."""
        rng, parts = self.rng, []
        for number in range(rng.choice([0, 1, 1, 2, 3])):
            name, takes, gives = f"B{number}", rng.choice([1, 1, 2]), rng.choice([1, 1, 1, 2])
            inputs = ["x", "y"][:takes]
            body = self.body(list(inputs), 1, 0, gives)
            parts.append(f"block {name}({_HEAD}) {', '.join(inputs)} {{\n{body}}}\n")
            self.blocks.append((name, takes, gives))
        inputs = ["x", "z"][: rng.choice([1, 1, 2])]
        declared = "".join(f"    input {name}: {SHAPE}\n" for name in inputs)
        called = "".join(
            f"    {'x' if gives == 1 else 'x, unread'} = {self.call((name, takes, gives), inputs, [])}\n"
            for name, takes, gives in self.blocks
        )
        body = called + self.body(list(inputs), 1, 0, 0)
        return "".join([*parts, f"net Random({_HEAD}) {{\n{declared}{body}}}\n"])

    # -- statements

    def body(self, values: list[str], depth: int, nested: int, gives: int) -> str:
        """Statements; `gives` values are returned at the end, none in a net, -1 in a nested body."""
        rng, indent = self.rng, "    " * depth
        text = ""
        if nested == 0 and rng.random() < 0.3:
            self.count += 1
            text += f"{indent}layer shared{self.count} = {self.shareable()}\n"
            values = [*values, f"shared{self.count}"]
        elif nested == 0 and rng.random() < 0.3:
            self.count += 1
            kind, rule = rng.choice(["parameter", "buffer"]), rng.choice(["zeros", "normal(p)"])
            text += f"{indent}{kind} own{self.count}: {SHAPE} = {rule}\n"
            values = [*values, f"own{self.count}"]
        tensors = [v for v in values if not v.startswith("shared")]
        shared = [v for v in values if v.startswith("shared")]
        for _ in range(rng.randint(1, 4 - nested)):
            kind = rng.random()
            if kind < 0.2 and nested < 2:
                text += self.decision(tensors, shared, depth, nested, gives)
            elif kind < 0.3 and nested < 2:
                name = rng.choice(tensors)
                inner = self.expression([name], [], labelled=False)
                turns = rng.choice(["2", "k", "1"])
                text += f"{indent}for i in range({turns}) {{ {name} = {inner} }}\n"
            elif kind < 0.35:
                name, condition = rng.choice(tensors), rng.choice(_CONDITIONS)
                text += self.shifted(name, condition, indent)
            elif kind < 0.45 and any(b[2] == 2 for b in self.blocks):
                block = rng.choice([b for b in self.blocks if b[2] == 2])
                names = [self.target(tensors), self.target(tensors)]
                while names[1] == names[0]:
                    names[1] = self.target(tensors)
                text += f"{indent}{', '.join(names)} = {self.call(block, tensors, shared)}\n"
                tensors += [name for name in names if name not in tensors]
            else:
                name = self.target(tensors)
                text += f"{indent}{name} = {self.expression(tensors, shared)}\n"
                if name not in tensors:
                    tensors.append(name)
        if gives > 0:
            ends = [rng.choice(tensors) for _ in range(gives - 1)]
            ends.append(f"({self.expression(tensors, shared)})" if ends else
                        self.expression(tensors, shared))  # fmt: skip
            text += f"{indent}return {', '.join(ends)}\n"
        elif gives == 0:
            text += f"{indent}output {self.expression(tensors, shared)}\n"
            for number in range(rng.choice([0, 0, 1, 2])):
                text += f"{indent}output more{number} = {rng.choice(tensors)}\n"
        return text

    def shifted(self, name: str, condition: str, indent: str) -> str:
        """Return labels whose numbers depend on whether there is a layer before them."""
        self.count += 1
        seq, at, wide = f"list{self.count}", f"at{self.count}", f"wide{self.count}"
        first = self.rng.choice(["conv(2 * c, 1)", "conv(c, 3, pad = 1)"])
        return (
            f"{indent}{at} = 0 if {condition} else 1\n"
            f"{indent}{wide} = {name} if {condition} else ({name} -> {seq}.0: {first})\n"
            f"{indent}{name} = {wide} -> {seq}.{{{at}}}: conv(4, k, pad = k // 2)"
            f" -> {seq}.{{{at} + 1}}: batch_norm\n"
        )

    def decision(
        self, tensors: list[str], shared: list[str], depth: int, nested: int, gives: int
    ) -> str:
        """Return an `if` whose cases rebind existing names, and may return."""
        rng, indent = self.rng, "    " * depth
        text = f"{indent}if {rng.choice(_CONDITIONS)} {{\n"
        returns = gives if gives > 0 and rng.random() < 0.3 else -1
        text += self.body([*tensors, *shared], depth + 1, nested + 1, returns)
        text += f"{indent}}}"
        for other in ([" else if " + rng.choice(_CONDITIONS)] if rng.random() < 0.3 else []) + (
            [" else"] if rng.random() < 0.5 else []
        ):
            inner = self.body([*tensors, *shared], depth + 1, nested + 1, -1)
            text += f"{other} {{\n{inner}{indent}}}"
        return text + "\n"

    def target(self, tensors: list[str]) -> str:
        """Return a name to assign to: an existing one, or a new one."""
        if self.rng.random() < 0.6:
            return self.rng.choice(tensors)
        self.count += 1
        return f"v{self.count}"

    # -- values

    def expression(self, tensors: list[str], shared: list[str], *, labelled: bool = True) -> str:
        rng = self.rng
        value = rng.choice(tensors)
        kind = rng.random()
        if kind < 0.15:
            return f"{value} + {rng.choice(tensors)}"
        if kind < 0.2:
            return f"{value} * ({rng.choice(tensors)} -> sigmoid)"
        if kind < 0.3:
            return f"({value} -> {self.layer(False)}) + {rng.choice(tensors)} -> relu"
        if kind < 0.35:
            return f"{value} if {rng.choice(_CONDITIONS)} else ({value} -> {self.layer(False)})"
        if kind < 0.45 and shared:
            return f"{rng.choice(shared)}({value})"
        singles = [block for block in self.blocks if block[2] == 1]
        if kind < 0.6 and singles:
            return self.call(rng.choice(singles), tensors, shared)
        if kind < 0.7 and labelled:
            self.count += 1
            name = f"seq{self.count}"
            return (f"{value} -> {name}.0: conv(c, 3, pad = 1) -> relu"
                    f" -> {name}.2: conv(4, 1) -> {name}.3: batch_norm")  # fmt: skip
        if kind < 0.75:
            return f"concat({value}, {rng.choice(tensors)}) -> conv(4, 1)"
        return f"{value} -> " + " -> ".join(self.layer(labelled) for _ in range(rng.randint(1, 3)))

    def layer(self, labelled: bool) -> str:
        rng = self.rng
        layer = rng.choice(_LAYERS)
        if labelled and rng.random() < 0.2:
            self.count += 1
            stem = rng.choice(["l{}", "deep{}.inner", "class", "keys{}.x", "n{}.0.1"])
            return f"{stem.format(self.count)}: {layer}" if "{}" in stem else layer
        return layer

    def shareable(self) -> str:
        rng = self.rng
        singles = [block for block in self.blocks if block[1:] == (1, 1)]
        if singles and rng.random() < 0.5:
            return f"{rng.choice(singles)[0]}({self.arguments()})"
        layer = rng.choice([one for one in _LAYERS if "->" not in one])
        return layer if "(" in layer else f"{layer}()"

    def call(self, block: tuple[str, int, int], tensors: list[str], shared: list[str]) -> str:
        name, takes, _ = block
        given = [self.rng.choice(tensors) for _ in range(takes)]
        arguments = self.arguments()
        return f"{name}({', '.join(given)}{', ' if arguments else ''}{arguments})"

    def arguments(self) -> str:
        chosen = [name for name in _ARGUMENTS if self.rng.random() < 0.4]
        return ", ".join(
            f"{name} = {self.rng.choice([*_ARGUMENTS[name], name])}" for name in chosen
        )


def random_net(seed: int) -> str:
    """Return a file with one net and its blocks. Most of the files are valid."""
    return _Writer(seed).text()
