"""What was written, with its spans, and the words of the language."""
