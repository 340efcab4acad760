"""What several ops have in common; an op file imports from here, never from another op."""
