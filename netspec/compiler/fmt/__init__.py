"""From syntax to canonical text."""
