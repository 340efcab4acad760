"""Running compiled nets: models, data, training, weights."""
