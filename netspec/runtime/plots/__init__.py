"""Pictures of training curves and filters."""
