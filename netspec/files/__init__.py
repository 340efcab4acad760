"""Files of any origin, opened without being misled by links, FIFOs and the like; archives, pickles."""
