"""NumPy kernels: plain functions from arrays to arrays, which know nothing of the compiler.

Pictures are (N, H, W, C) and C-contiguous, weights keep PyTorch's layout. Every kernel writes into
the arrays it is given. A kernel that needs room takes it as `scratch`, a one-dimensional array of
the computation's dtype; the `scratch_size` function beside it says how many elements suffice.
"""
