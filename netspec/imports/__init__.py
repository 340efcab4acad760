"""Models of other tools become `.net` files.

The stages, each a module that takes what the one before gives:

- A front reads a model, `torch_front` PyTorch's, and gives an `ImportedNet` (`imported_net`): nodes
  in the order they run, in netspec's terms, with the modules that they came from. What it cannot
  express it gives as problems, all at once.
- `structure` finds blocks, arguments, conditions and loops, and gives an `Outline` (`outline`).
- `text` writes the outline as a `.net` file, as `fmt` prints it; `sound_text` sees that it compiles.
- `proof` compiles the text, loads the weights, and compares with the model.

Nothing behind the front knows where a model came from.
"""
