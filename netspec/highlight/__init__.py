"""Colours for `.net` files in editors and documents. What the words are comes from the language."""
