"""What editors show of `.net` files, and the server that tells them: `netspec lsp`.

Each feature is a function of a text and of what the compiler found in it, in a module of its own, and
speaks of places by their offsets. `protocol.py` turns these into lines and UTF-16 columns, and
`server.py` alone knows pygls.
"""
