"""The training loop, whichever backend runs its steps."""
