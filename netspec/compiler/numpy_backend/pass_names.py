"""The names of the passes on the way to the NumPy program, and what each does.

They are separate from the passes, so that a command line can name them without loading the passes.
"""

from __future__ import annotations

PASS_NAMES: dict[str, str] = {
    "pool-first": "take the maximum of each window before a monotone activation instead of after it",
    "fold-batch-norm": "fold a batch norm into the weights of the layer before it, in evaluation",
    "fuse": "merge a chain of elementwise steps into one step",
    "early-slopes": "compute the slope of a costly function in the forward pass, and keep it",
    "recompute": "recompute a value in the backward pass if it follows cheaply from values that are kept",
}
