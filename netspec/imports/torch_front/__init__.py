"""PyTorch models as imported nets: `export` traces a module, `read_graph` translates the trace."""
