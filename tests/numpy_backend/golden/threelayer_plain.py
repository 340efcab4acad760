"""ThreeLayer in training, made by netspec from threelayer.net.

Inputs: image [N, 3, 32, 32]. Outputs: output [N, 10].
Arrays by name: b buffers, p parameters, g gradients; s is scratch memory. Pictures are
stored N, H, W, C.

In plain form: each layer has its own calls and formulas, backward in mirror order.
Convolutions and pools are plain loops in netspec.kernels.course.naive.
"""

import numpy as np
from netspec.kernels import conv, copies, linear, pool


def forward(b, p, s):
    """Compute the outputs, in training."""
    copies.to_channels_last(b["image.nchw"], b["image"])
    # line 9: conv1 = conv(32, 7, pad = same), relu1
    conv.forward(b["image"], p["conv1.weight"], p["conv1.bias"], b["conv1"], s, stride=(1, 1),
                 pad=(3, 3, 3, 3), dilation=(1, 1), groups=1)
    b["relu1"][...] = np.maximum(b["conv1"], 0)
    # line 10: max_pool1 = max_pool(2), flatten1
    pool.max_forward(b["relu1"], b["max_pool1"], s, kernel=(2, 2), stride=(2, 2), pad=(0, 0, 0, 0),
                     dilation=(1, 1))
    copies.to_channels_first(b["max_pool1"], b["flatten1.planes"])
    b["flatten1"] = b["flatten1.planes"].reshape(-1, 8192)
    # line 11: linear1 = linear(100), relu2
    linear.forward(b["flatten1"], p["linear1.weight"], p["linear1.bias"], b["linear1"], s)
    b["relu2"][...] = np.maximum(b["linear1"], 0)
    # line 12: linear2 = linear(10)
    linear.forward(b["relu2"], p["linear2.weight"], p["linear2.bias"], b["linear2"], s)


def backward(b, p, g, s):
    """Compute the gradients g of the parameters p, from those of the outputs."""
    # line 12: linear2 = linear(10)
    linear.backward_weight(b["relu2"], b["output.output.dy"], g["linear2.weight"])
    linear.backward_bias(b["output.output.dy"], g["linear2.bias"])
    linear.backward_input(b["output.output.dy"], p["linear2.weight"], b["linear2.dx"])
    # line 11: relu2, linear1 = linear(100)
    b["relu2.dx"][...] = np.where(b["relu2"] > 0, b["linear2.dx"], 0)
    linear.backward_weight(b["flatten1"], b["relu2.dx"], g["linear1.weight"])
    linear.backward_bias(b["relu2.dx"], g["linear1.bias"])
    linear.backward_input(b["relu2.dx"], p["linear1.weight"], b["linear1.dx"])
    # line 10: flatten1, max_pool1 = max_pool(2)
    b["flatten1.dplanes"] = b["linear1.dx"].reshape(-1, 32, 16, 16)
    copies.to_channels_last(b["flatten1.dplanes"], b["flatten1.dx"])
    pool.max_backward(b["relu1"], b["max_pool1"], b["flatten1.dx"], b["max_pool1.dx"], s,
                      kernel=(2, 2), stride=(2, 2), pad=(0, 0, 0, 0), dilation=(1, 1))
    # line 9: relu1, conv1 = conv(32, 7, pad = same)
    b["relu1.dx"][...] = np.where(b["relu1"] > 0, b["max_pool1.dx"], 0)
    conv.backward_weight(b["image"], b["relu1.dx"], g["conv1.weight"], s, stride=(1, 1),
                         pad=(3, 3, 3, 3), dilation=(1, 1), groups=1)
    conv.backward_bias(b["relu1.dx"], g["conv1.bias"])
