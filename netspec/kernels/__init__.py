"""NumPy kernels: plain functions from arrays to arrays, which know nothing of the compiler.

Pictures are (N, H, W, C) and C-contiguous; weights keep PyTorch's layout. Every kernel writes its
results into arrays that the caller passes. A kernel that needs working memory takes it as
`scratch`, a one-dimensional array of the computation's dtype; the `scratch_size` function beside it
returns how many elements suffice.
"""
