"""What runs compiled nets: models, data, training, weights."""
