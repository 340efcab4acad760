"""Classes written from the statements of a file: loops, conditions and arguments stay.

The structure of a net or a block is recorded while its body is elaborated (`structure`, `follower`), and
proved with other arguments (`net`). It is written as a class (`net_class`, `block`, `constructor`,
`forward`): a chain of layers as a `nn.Sequential`, any other as a module with a `forward`. What no result
depends on is not written (`liveness`). Where there is no such structure, the statements are the layers
one after another (`StraightFollower`).
"""
