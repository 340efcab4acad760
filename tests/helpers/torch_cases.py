"""Nets that exercise what bodies can do, by what they exercise."""

CASES = {
    "parameters and buffers": """
        block Scaled(c, start = 0.5) x {
            parameter layer_scale: [c, 1, 1] = constant(start)
            constant fixed: [c, 1, 1] = constant(0.5)
            if c > 4 {
                parameter only: [x.height, x.width] = normal(1)
                x = x + reshape(only, [1, x.height, x.width])
            }
            return x * layer_scale * fixed
        }
        net N(width = 4) {
            input image: [width, 5, 3]
            layer twice = Scaled(width)
            parameter class_token: [1, 1, width] = zeros
            parameter positions: [1, 16, width] = normal(0.02)
            parameter everywhere: [width, 5, 3] = normal(1)
            parameter one: [1] = ones
            buffer kept: [2, 2] = [[1, 2], [3, 4.5]]
            buffer picture: [width, 5, 3] = uniform(0, 1)
            constant steps: [4] = [0.5, 1, 2, 4]
            x = image + everywhere -> twice -> twice -> relu
            x = x * picture -> stage.0: conv(8, 1) -> stage.1: Scaled(8)
            x = x -> conv(width, 1) -> reshape([width, 15]) -> permute([2, 1])
            x = (class_token, x) -> concat
            x = x + positions -> mean(1)
            output x * reshape(kept, [4]) * steps + expand(one, [width])
            output tokens = class_token -> linear(2)
        }""",
    "inline blocks": """
        inline block Unit(i, c, again = true) x {
            x = x -> conv{i}: conv(c, 3, pad = 1) -> relu
            if again { x = x -> tail.{i}.more: conv(c, 1) }
            return x -> batch_norm
        }
        inline block Two(c) x {
            parameter shift: [x.channels, 1, 1] = ones
            return x + shift -> Unit(1, c) -> low.2: Unit(2, c, again = false)
        }
        block Basic(c) x { return x -> Two(c) -> relu }
        net N(w = 4) {
            input x: [4, 6, 6]
            layer b = Basic(w)
            y = x -> b -> b -> Two(w) -> Basic(4) -> dropout(0.3)
            output y + noise(y)
        }""",
    "nested blocks": """
        block Inner(c, k = 3) x { return x -> conv(c, k, pad = same) -> relu }
        block Outer(c) x {
            y = x -> Inner(c) -> Inner(c, k = 5)
            return y + x -> Inner(2 * c)
        }
        net N(w = 4) {
            input x: [4, 6, 6]
            output x -> Outer(w) -> conv(w, 1) -> Outer(4)
        }""",
    "a block that calls itself": """
        block Again(depth, c) x {
            if depth == 0 { return x -> conv(c, 3, pad = 1) }
            y = x -> Again(depth - 1, c)
            return x + y -> relu
        }
        net N {
            input x: [4, 5, 5]
            output x -> Again(3, 4) -> Again(1, 4)
        }""",
    "other layers in other calls": """
        block B(kind, c) x {
            if kind == 0 { y = x -> conv(c, 3, pad = 1) }
            else if kind == 1 { y = x -> conv(c, 1) -> relu }
            else if kind == 2 { y = x }
            else {
                y = x -> batch_norm -> relu
                y = y + x
            }
            return y -> conv(4, 1)
        }
        net N {
            input x: [4, 5, 5]
            output x -> B(0, 4) -> B(1, 5) -> B(2, 4) -> B(3, 4)
        }""",
    "floors of floors": """
        block B(e) x { return x -> conv((e // 4 + 4) // 8 * 8, 1) }
        net N(w = 64) {
            input x: [4, 5, 5]
            output x -> B(w) -> B(2 * w)
        }""",
    "returns in the middle": """
        block B(kind, c) x {
            if kind > 1 { return x -> conv(c, 3, pad = 1) -> relu }
            y = x -> batch_norm
            if kind == 1 { return y }
            return y + x
        }
        net N {
            input x: [4, 5, 5]
            output x -> B(0, 4) -> B(1, 5) -> B(2, 4) -> B(3, 4)
        }""",
    "several values in and out": """
        block Two(c) a, b { return a -> linear(c), a + b, b -> relu }
        block Pick(c, swap = 0) a, b {
            p, q, r = Two(a, b, c)
            if swap == 1 { return q, r }
            return r, q
        }
        net N {
            input a: [4]
            input b: [4]
            c, d = Pick(a, b, 4)
            e, f = Pick(c, d, 4, swap = 1)
            output one = e + f
            output two = f -> linear(2)
        }""",
    "names given again in the cases": """
        block B(flag, c) x {
            y = x -> conv(c, 1)
            z = y
            if flag > 0 {
                y = z -> relu
                z = x
            } else {
                z = y -> batch_norm
                y = x
            }
            return y + z -> relu, z
        }
        net N {
            input x: [4, 5, 5]
            a, b = x -> B(1, 4)
            c, d = a + b -> B(0, 4)
            output c + d + a + b
        }""",
    "values that change places": """
        block B(flag) x {
            a = x -> relu
            b = x -> tanh
            if flag > 0 {
                t = a
                a = b
                b = t
            }
            return concat(a, b)
        }
        net N {
            input x: [4, 5, 5]
            output x -> conv(3, 1) -> B(1) -> B(0)
        }""",
    "a decision in each turn": """
        block B(f, k = 3) x {
            for i in range(k) { x = x if f == 1 else (x -> drop_path(0.2)) }
            return x * (x -> sigmoid)
        }
        net N {
            input x: [4, 5, 5]
            output x -> B(1) -> B(0)
        }""",
    "one value twice": """
        net N {
            input x: [4, 5, 5]
            y = x -> conv(4, 3, pad = 1)
            output p = (y, y, x) -> add -> relu
            output q = y * y
            output r = y * (x + y)
            output s = (y * x) + y
            output t = (y + x) * y
            output u = concat(y, y, x)
        }""",
    "shared layers and blocks with masks and statistics": """
        block B(c) x {
            return x -> conv(c, 3, pad = 1, bias = false) -> batch_norm -> relu -> dropout(0.3)
        }
        net N {
            input a: [2, 5, 5]
            input b: [2, 5, 5]
            layer s = B(3)
            layer d = dropout(0.5)
            layer n = batch_norm()
            output (s(a) -> n -> d) + (s(b) -> n -> d)
        }""",
    "a shared layer whose first use is not read": """
        net N {
            input x: [4, 5, 5]
            layer s = conv(4, 1)
            y = s(x)
            z = x -> conv(4, 3, pad = 1)
            output s(z)
        }""",
    "split": """
        net N {
            input x: [6, 4, 4]
            a, b, c = x -> split(3)
            d, e = a -> conv(4, 1) -> split([1, 3])
            output concat(d, e, a * b + c)
        }""",
    "results that nothing reads": """
        block Two x { return x -> conv(2, 1), x -> conv(3, 1) }
        block Ignores a, b { return a -> relu }
        net N {
            input x: [6, 4, 4]
            a, b = x -> Two
            y = x -> conv(3, 3)
            c, d = x -> Two
            output Ignores(b, a) + (Ignores(d, c))
        }""",
    "values that live long": """
        net N {
            input x: [4, 4, 4]
            y = x
            for i in range(4) { y = y + (y -> conv(4, 3, pad = 1) -> relu) }
            for i in range(2) {
                y = (y -> conv(4, 1) -> relu) + (y -> conv(4, 3, pad = 1)) * (y -> sigmoid)
            }
            output y + x
        }""",
    "sequences in sequences": """
        block R(c) x { return x -> 0: conv(c, 3, pad = 1) -> 1: batch_norm -> relu }
        block D(c) x {
            return x -> body.0.0: conv(c, 1) -> relu -> body.0.2: R(c) -> body.1: R(c)
                -> head: conv(c, 1)
        }
        net N {
            input x: [3, 4, 4]
            output x -> a.0.0: conv(4, 1) -> a.0.1: R(4) -> a.1: D(4)
                -> b.first: conv(3, 1) -> c.x: relu -> b.second: conv(3, 1)
        }""",
    "labels that come back": """
        net N {
            input x: [3, 4, 4]
            y = x -> a.0: conv(4, 1) -> b.0: conv(4, 1)
            output y + (y -> a.1: conv(4, 1) -> keys.values: conv(4, 1) -> keys.1: conv(4, 1))
        }""",
    "numbers in labels that shift": """
        block Mobile(c, expand, drop = 0) x {
            at = 0 if expand == 1 else 1
            wide = x if expand == 1 else (x -> conv.0: conv(expand * x.channels, 1))
            y = wide -> conv.{at}: conv(c, 3, pad = 1, bias = false) -> conv.{at + 1}: batch_norm
            if drop > 0 { y = y -> dropout(0.4) }
            return x + y if x.channels == c else y
        }
        block Other(kind, c) x {
            at = 1 if kind == 2 else 2
            if kind == 0 { x = x -> m.0: conv(c, 1) -> relu }
            else if kind == 1 { x = x -> m.0: conv(4, 1) -> m.1: batch_norm }
            else { x = x -> m.0: conv(4, 3, pad = 1) }
            return x -> m.{at}: conv(4, 1) -> relu
        }
        net N {
            input x: [4, 5, 5]
            output x -> Mobile(4, 1) -> Mobile(6, 2) -> Mobile(6, 3, drop = 1) -> Mobile(4, 1)
                -> Other(0, 4) -> Other(1, 4) -> Other(2, 4) -> Other(0, 5)
        }""",
    "numbers that shift, further in": """
        block Deep(c, expand, layers = 1) x {
            at = 0 if expand == 1 else 1
            wide = x if expand == 1 else (x -> a.b.0: conv(expand * x.channels, 1) -> a.b.1: relu)
            y = wide -> a.b.{2 * at}: conv(c, 3, pad = layers) -> a.c: batch_norm
            return y -> a.d.0: conv(c, 1) -> a.d.1: batch_norm
        }
        net N {
            input x: [4, 5, 5]
            output x -> Deep(4, 1) -> Deep(6, 2) -> Deep(4, 3)
        }""",
    "numbers in labels that make no list": """
        block Gap(kind, c) x {
            at = 0 if kind == 1 else 2
            wide = x if kind == 1 else (x -> conv.0: conv(4, 1))
            return x + (wide -> conv.{at}: conv(c, 3, pad = 1))
        }
        net N {
            input x: [4, 5, 5]
            output x -> Gap(1, 4) -> Gap(2, 4) -> Gap(3, 4)
        }""",
    "layers with parameters of their own, in blocks": """
        block S(c, s = 0.1) x {
            y = x -> conv(c, 1) -> gamma: scale(s)
            return x + (y -> drop_path(0.3))
        }
        net N {
            input x: [4, 3, 3]
            output x -> S(4) -> S(4, s = 0.5) -> global_avg_pool -> scale -> linear(3) -> scale
        }""",
    "attention": """
        block Attend(dim, heads = 2, drop = 0.1) x {
            length = x.shape[0]
            split = [length, heads, dim // heads]
            q = x -> q: linear(dim) -> reshape(split) -> permute([2, 1, 3])
            k = x -> k: linear(dim) -> reshape(split) -> permute([2, 1, 3])
            v = x -> v: linear(dim) -> reshape(split) -> permute([2, 1, 3])
            y = (q, k, v) -> attention(causal = true) -> permute([2, 1, 3])
                -> reshape([length, dim])
            return x + (y -> out: linear(dim) -> dropout(drop)) -> layer_norm
        }
        net N(dim = 8) {
            input x: [5, 8]
            output x -> Attend(dim) -> Attend(8, heads = 4) -> linear(3)
        }""",
    "uneven edges": """
        net N {
            input x: [2, 7, 7]
            a = x -> conv(3, [4, 3], pad = same)
            b = a -> pad([[1, 2], [0, 3]])
            output b -> max_pool(3, stride = 2, ceil_mode = true)
                -> avg_pool(2, pad = 1, ceil_mode = true, count_include_pad = false)
        }""",
    "numbers that forward needs": """
        block B(k, slope = 0.1) x {
            return x -> pad(k) -> max_pool(2 * k + 1, stride = 1) -> leaky_relu(slope)
                -> reshape([x.channels, x.height * x.width]) -> softmax(2)
                -> reshape([x.channels, x.height, x.width])
        }
        net N(training = 1, slope = 0.2, conv1 = 3) {
            input x: [4, 6, 6]
            output x -> B(1) -> B(2, slope = 0.3) -> conv(4, conv1, pad = training)
                -> avg_pool(conv1, stride = training) -> leaky_relu(slope) -> upsample(2)
        }""",
    "blocks that do nothing": """
        block I x { return x }
        block Twice a { return a, a }
        block J x {
            y, z = x -> I -> Twice
            return y + z -> I
        }
        net N {
            input x: [4]
            output a = x -> I
            output b = x -> linear(2) -> J
            output c = x
        }""",
    "one value for two inputs of a block": """
        block Gate a, b { return a * (b -> conv(a.channels, 1) -> sigmoid) }
        net N {
            input x: [4, 2, 2]
            input y: [6, 2, 2]
            a = Gate(x, y)
            output Gate(a, a) -> conv(3, 1)
        }""",
    "lists, words and truths as arguments": """
        block M(widths, act = "relu", norm = true, p = 0.0) x {
            for w in widths {
                x = x -> linear(w)
                if norm { x = x -> batch_norm }
                x = (x -> relu) if act == "relu" else ((x -> tanh) if act == " == " else x)
            }
            return x -> dropout(p)
        }
        net N(hidden = [4, 5], act = " == ") {
            input x: [4]
            output x -> M(hidden, act) -> M([3, 2, 1], p = 0.2, norm = false) -> M([2, 6], "none")
        }""",
    "loops of blocks": """
        block S(n, c) x {
            for i in range(n) { x = x -> unit{i}: conv(c, 3, pad = 1) -> relu }
            return x
        }
        block T(c) x { return x -> conv(c, 1) }
        net N(n = 2, w = 2) {
            input x: [4, 2, 2]
            x = x -> S(n, 3) -> S(4, 5)
            for i in range(4) { x = x -> stage.{i}: T(w * i + 3) }
            for i in range(4) { x = x -> deep.t{i + 1}: T(7) }
            output x
        }""",
}  # fmt: skip
