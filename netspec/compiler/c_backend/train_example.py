"""A `main` that trains a net on pictures in MNIST's files, with the C file of the net."""

from __future__ import annotations

import json
import math

from netspec.compiler.c_backend.c_text import comment, identifier, literal
from netspec.compiler.ir.graph import Graph, Parameter

MAIN = """\
/* Trains {title} on pictures in MNIST's format, made by netspec from {where}.
 *
 *     cc -O2 {file} {main} -lm -o train
 *     ./train train-images-idx3-ubyte train-labels-idx1-ubyte 3
 *
 * It writes the weights to {weights}, which netspec reads.
 */

#include <stdio.h>
#include <stdlib.h>
{string}#include "{header}"

enum {{ SIZE = {size}, CLASSES = {classes}, HEADER = {header_size} }};

/* What stands in front of the numbers in a file of weights: the name and place of each array. */
static const char header[] =
{json};

static REAL parameters[{upper}_PARAMETERS], gradients[{upper}_TRAINED];
static REAL means[{upper}_TRAINED], squares[{upper}_TRAINED];

/* Reads a file, and returns what lies behind the first `start` bytes, and how much that is. */
static unsigned char *read_file(const char *path, long start, long *count)
{{
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = 0;
    if (file && fseek(file, 0, SEEK_END) == 0 && (*count = ftell(file) - start) > 0) {{
        bytes = (unsigned char *)malloc((size_t)*count);
        if (!bytes || fseek(file, start, SEEK_SET) != 0
            || fread(bytes, 1, (size_t)*count, file) != (size_t)*count) {{
            free(bytes);
            bytes = 0;
        }}
    }}
    if (!bytes)
        fprintf(stderr, "cannot read %s\\n", path);
    if (file)
        fclose(file);
    return bytes;
}}

static int save(const char *path)
{{
    const unsigned char length[8] = {{HEADER & 255, HEADER >> 8 & 255, HEADER >> 16 & 255}};
    static const unsigned char zeros[{zeros}] = {{0}};
    FILE *file = fopen(path, "wb");
    return file && fwrite(length, 1, 8, file) == 8 && fwrite(header, 1, HEADER, file) == HEADER
        && fwrite(parameters, sizeof(REAL), {upper}_PARAMETERS, file) == {upper}_PARAMETERS
        && fwrite(zeros, 1, {counted}, file) == {counted} && fclose(file) == 0;
}}

int main(int argc, char **argv)
{{
    static REAL images[{upper}_BATCH * SIZE];
    static int labels[{upper}_BATCH];
    long count = 0, pixels = 0, step = 0;
    unsigned char *pictures = argc > 2 ? read_file(argv[1], 16, &pixels) : 0;
    unsigned char *classes = argc > 2 ? read_file(argv[2], 8, &count) : 0;
    int *order = count > 0 ? (int *)malloc((size_t)count * sizeof(int)) : 0;
    if (!pictures || !classes || !order || pixels / SIZE < count)
        return fprintf(stderr, "usage: train IMAGES LABELS [EPOCHS]\\n"), 1;
{begin}
    for (int i = 0; i < count; i++)
        order[i] = i;
    for (int epoch = 1; epoch <= (argc > 3 ? atoi(argv[3]) : 3); epoch++) {{
        double loss = 0;
        long right = 0;
        for (long i = count - 1; i > 0; i--) {{ /* shuffles */
            const long j = (long)((double)rand() / ((double)RAND_MAX + 1) * (double)(i + 1));
            const int other = order[i];
            order[i] = order[j];
            order[j] = other;
        }}
        for (long at = 0; at < count; at += {upper}_BATCH) {{
            const int many = (int)(count - at < {upper}_BATCH ? count - at : {upper}_BATCH);
            for (int n = 0; n < many; n++) {{
                labels[n] = classes[order[at + n]];
                if (labels[n] >= CLASSES)
                    return fprintf(stderr, "there is no class %d\\n", labels[n]), 1;
                for (int i = 0; i < SIZE; i++)
                    images[n * SIZE + i] = (REAL)pictures[(long)order[at + n] * SIZE + i] / 255;
            }}
            loss += (double)many
                * (double){name}_loss_and_grads(parameters, images, labels, many, gradients);
            {name}_adam_step(parameters, gradients, means, squares, (int)++step, (REAL)0.001);
        }}
        for (long at = 0; at < count; at++) {{
            REAL scores[CLASSES];
            int best = 0;
            for (int i = 0; i < SIZE; i++)
                images[i] = (REAL)pictures[at * SIZE + i] / 255;
            {name}_predict(parameters, images, scores);
            for (int c = 1; c < CLASSES; c++)
                best = scores[c] > scores[best] ? c : best;
            right += best == classes[at];
        }}
        printf("epoch %d: loss %.4f, right %.2f %%\\n", epoch, loss / (double)count,
               100 * (double)right / (double)count);
    }}
    free(pictures);
    free(classes);
    free(order);
    return save("{weights}") ? 0 : 1;
}}
"""


READ = """\
    long size = 0;
    unsigned char *numbers = read_file("{stem}.weights", 0, &size);
    if (!numbers || size != (long)sizeof parameters)
        return 1;
    memcpy(parameters, numbers, sizeof parameters);
    free(numbers);"""


def example_main(
    graph: Graph, order: list[Parameter], stem: str, *, double: bool, in_file: bool
) -> str:
    """Return the text of `STEM_main.c`, for the files `STEM.c` and `STEM.h`.

    Args:
        graph: a net with one input and one output of scores.
        order: its parameters in the order of the C file.
        stem: the name of the C file without its ending.
        double: whether numbers are in double precision.
        in_file: whether the numbers to begin with are a file of their own.
    """
    ((_, shape),) = graph.inputs.items()
    ((_, value),) = graph.outputs.items()
    counters = [p for p in graph.parameters.values() if p.role == "counter"]
    header = _header(order, counters, "F64" if double else "F32", 8 if double else 4)
    pieces = [header[at : at + 80] for at in range(0, len(header), 80)]
    name = identifier(graph.name).lower().strip("_") or "net"
    where = graph.span.source.file_name if graph.span is not None else graph.name
    return MAIN.format(
        title=comment(graph.name),
        where=comment(where),
        file=comment(f"{stem}.c"),
        main=comment(f"{stem}_main.c"),
        header=f"{stem}.h",
        weights=f"{name}.safetensors",
        json="\n".join(f"    {literal(piece)}" for piece in pieces),
        header_size=len(header),
        size=math.prod(shape),
        classes=graph.shape_of(value)[0],
        counted=8 * len(counters),
        zeros=max(1, 8 * len(counters)),
        name=name,
        string="#include <string.h>\n" if in_file else "",
        begin=READ.format(stem=stem) if in_file else f"    {name}_initial_parameters(parameters);",
        upper=name.upper(),
    )


def _header(order: list[Parameter], counters: list[Parameter], kind: str, width: int) -> str:
    """Return the header of a safetensors file with these arrays, one behind the other."""
    about: dict[str, object] = {}
    at = 0
    for p in (*order, *counters):
        counts = p.role == "counter"
        end = at + p.size * (8 if counts else width)
        about[p.name] = {
            "dtype": "I64" if counts else kind,
            "shape": list(p.shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(about, separators=(",", ":"))
    return text + " " * (-len(text) % 8)
