"""What is said about a sound graph: costs, differences, warnings."""
