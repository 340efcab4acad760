"""Training runs on disk: recipes, folders, checkpoints, metrics, and resuming.

`options` defines what can be chosen, `recipe` reads choices from a file, and `resolve` combines the
command line, the recipe and the defaults. `folder` is a run on disk, `checkpoint` its state at one
step, `metrics` the record of what happened, `recorder` writes all of these during training,
`resume` checks what may differ in a resumed run, and `listing` compares runs.
"""
