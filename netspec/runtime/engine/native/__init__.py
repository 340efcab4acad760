"""Plans as machine code: C that this machine's compiler makes a library of, kept in the user's cache."""
