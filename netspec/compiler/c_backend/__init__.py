"""Writes a net as one C99 file: the steps of its plan become calls of small C functions.

The NumPy backend lowers a graph to a plan, folds batch norms, fuses formulas and places values in
an arena. Here the same plan is printed as C. A kernel of a plan has a form in C (`forms`), which
calls a function of the library (`library/*.c`), or loops that are written out.
"""
