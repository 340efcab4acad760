"""From text to checked graph, and from graph to programs."""
