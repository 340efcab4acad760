"""What `verify` and `gradcheck` share: evaluators that record traces, and comparisons of traces.

A `Trial` is the input of every evaluator. A `Trace` holds the arrays that one of them computed, by
name. `compare` compares two traces, and `describe_parting` names the line of the file where they
first diverge.
"""
