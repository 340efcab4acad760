"""The passes on the way to the NumPy program: their names, and what each does.

Apart from the passes, so that a command line can name them before anything is loaded.
"""

from __future__ import annotations

PASS_NAMES: dict[str, str] = {
    "pool-first": "take a window's maximum before a function that never falls, not after it",
    "fold-batch-norm": "multiply a layer's weight by the batch norm after it, in evaluation",
    "fuse": "make a chain of elementwise steps one step",
    "recompute": "make a value again for the backward pass, where kept values give it cheaply",
    "choose-emitters": "compute an elementwise step by numexpr where that should be faster",
}
