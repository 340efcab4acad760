"""Training runs that are kept: recipes, folders, checkpoints, metrics, and taking them up again.

`options` says what can be chosen, `recipe` reads choices from a file and `resolve` decides between
the command line, the recipe and the defaults. `folder` is a run on disk, `checkpoint` its state at
one step, `metrics` what happened, `recorder` what writes all of it while training goes on, `resume`
what may differ when it goes on again, and `listing` compares runs.
"""
