"""One file an op. The registry finds the files here; there is no list to edit."""
