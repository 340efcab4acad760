"""The page on which one draws a digit: LeNet's C file, as WebAssembly."""
