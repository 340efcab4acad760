/* Each row of dweight [vocabulary][width] is the sum of the gradients at its tokens; the row of the
   token `padding` gets 0, unless that is -1. */
static void embedding_backward(const real *tokens, const real *dy, real *dweight,
                               int count, int vocabulary, int width, int padding)
{
    for (int i = 0; i < vocabulary * width; i++)
        dweight[i] = 0;
    for (int n = 0; n < count; n++, dy += width) {
        const int token = place(real_rint(tokens[n]), vocabulary);
        for (int i = 0; i < width && token != padding; i++)
            dweight[token * width + i] += dy[i];
    }
}
