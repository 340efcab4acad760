"""PyTorch's own operator samples, written as nets."""
