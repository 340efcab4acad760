"""What `verify` and `gradcheck` share: trace evaluators, compare traces, say where they part.

A `Case` is what every evaluator is given. A `Trace` is what one of them computed, by name. `compare`
lays two traces beside each other, and `describe_parting` names the line where they part first.
"""
