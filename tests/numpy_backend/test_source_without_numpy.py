"""NumPy source is written where there is no NumPy, as in a browser, and it is the same there."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib

import netspec
from netspec.compiler.ops import registry
from netspec.testing.op_examples import net_of
from tests.conftest import ROOT

NETS = ("lenet", "resnet", "zoo/googlenet", "zoo/char_lstm", "zoo/vit_b_16")
# Prints a checksum for each program of the texts that it reads.
SCRIPT = """\
import json, sys, zlib

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"numpy", "lark", "networkx", "numexpr", "threadpoolctl"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import netspec

sums = [
    zlib.crc32(netspec.loads(text).source("numpy", plain=plain).encode())
    for text in json.load(sys.stdin)
    for plain in (False, True)
]
print(json.dumps(sums))
"""


def test_the_source_of_every_layer_and_of_nets_needs_no_numpy() -> None:
    texts = [net_of(e.call, e.inputs) for op in registry().values() for e in op.examples]
    texts += [(ROOT / f"networks/{name}.net").read_text("utf-8") for name in NETS]
    given = json.dumps(texts)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=given, cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [
        zlib.crc32(netspec.loads(text).source("numpy", plain=plain).encode())
        for text in texts
        for plain in (False, True)
    ]
