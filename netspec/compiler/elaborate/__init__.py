"""From syntax to a graph: names, blocks, loops, arguments and every shape."""
