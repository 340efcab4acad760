"""Pure functions from graph to graph and from plan to plan."""
