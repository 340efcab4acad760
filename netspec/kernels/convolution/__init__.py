"""The algorithms of convolution, and the choice between them."""
