"""The syntax tree with its spans, and the vocabulary of the language."""
