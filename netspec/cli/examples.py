"""Examples of each verb, which its `--help` shows.

They are about LeNet as `netspec new lenet` copies it, and are run by the tests in this order.
"""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "": ("netspec new lenet", "netspec check lenet.net", "netspec train numpy lenet.net"),
    "new": ("netspec new lenet", "netspec new zoo/resnet18"),
    "import": (
        "netspec import torch torchvision.models:alexnet --input image=3,224,224 -o alexnet.net",
        "netspec import onnx model.onnx -o model.net",
    ),
    "import torch": (
        "netspec import torch torchvision.models:alexnet --input image=3,224,224 -o alexnet.net",
        "netspec import torch mine.py:Net --set classes=5 --input image=1,28,28 --prove full",
        "netspec import torch mine.py:Net --weights best.pt --input image=1,28,28 -o mine.net"
        " --weights-out mine.safetensors",
    ),
    "import onnx": (
        "netspec import onnx model.onnx -o model.net --weights-out model.safetensors",
        "netspec import onnx model.onnx --input image=3,224,224",
    ),
    "check": (
        "netspec check lenet.net",
        "netspec check . --strict --format github",
        "netspec check lenet.net --set classes=100",
        "netspec check lenet.net --assert 'params <= 100_000' --forbid dropout --input 1,28,28",
    ),
    "summarize": (
        "netspec summarize lenet.net",
        "netspec summarize lenet.net --target c --int8",
        "netspec summarize resnet --set depth=56",
    ),
    "draw": ("netspec draw lenet.net -o lenet.svg", "netspec draw zoo/resnet50 -o resnet50.html"),
    "diff": (
        "netspec diff lenet.net lenet",
        "netspec diff HEAD:lenet.net lenet.net",
        "netspec diff lenet.net lenet --ignore init,names",
        "netspec diff resnet --set-a depth=20 --set-b depth=56",
    ),
    "fmt": ("netspec fmt lenet.net", "netspec fmt --check --diff ."),
    "watch": ("netspec watch lenet.net --draw",),
    "lsp": ("netspec lsp",),
    "explain": ("netspec explain shape/rank", "netspec explain conv", "netspec explain"),
    "compile": (
        "netspec compile lenet.net --target numpy -o lenet_numpy.py",
        "netspec compile lenet.net --target torch -o lenet_torch.py",
        "netspec compile lenet.net --target c --weights mine -o lenet.c --header",
        "netspec compile lenet.net --target onnx --weights mine -o lenet.onnx",
    ),
    "verify": ("netspec verify lenet.net", "netspec verify lenet.net --onnx --c"),
    "gradcheck": (
        "netspec gradcheck lenet.net",
        "netspec gradcheck lenet.net --params 'conv*.weight'",
    ),
    "data": ("netspec data info digits", "netspec data pack photos -o shards"),
    "data info": (
        "netspec data info digits",
        "netspec data info photos --val 0.1 --picture photos.png",
    ),
    "data pack": (
        "netspec data pack photos -o shards",
        "netspec data pack photos -o shards --resize-shorter 256",
    ),
    "train": (
        "netspec train numpy lenet.net --epochs 5 --out mine",
        "netspec train torch lenet.net --data mnist --optimizer momentum --lr 0.1 --amp bf16",
        "netspec train --resume mine",
    ),
    "sweep": ("netspec sweep rates.toml", "netspec sweep rates.toml --jobs 2 --out runs/rates"),
    "runs": ("netspec runs", "netspec runs mine --compare"),
    "eval": (
        "netspec eval mine",
        "netspec eval mine --part val --mistakes wrong.png",
        "netspec eval lenet.net --weights mine --part train",
    ),
    "predict": ("netspec predict mine three.png", "netspec predict mine three.png --top 3"),
    "generate": (
        "netspec generate runs/Writer --prompt 'Once upon'",
        "netspec generate writer.net --weights w.safetensors --temperature 0.8 --top-k 40 --seed 1",
    ),
    "doctor": ("netspec doctor lenet.net", "netspec doctor lenet.net --data digits"),
    "test-op": ("netspec test-op my_ops.py",),
    "weights": ("netspec weights mine", "netspec weights mine other.pth"),
    "plot": ("netspec plot mine -o curves.png", "netspec plot --filters mine -o filters.png"),
    "bench": ("netspec bench lenet.net", "netspec bench resnet --batch 1 128 --infer"),
}
