"""The compiler: from the text of a file to checked graphs, and from graphs to programs."""
