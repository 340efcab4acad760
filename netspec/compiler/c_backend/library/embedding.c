/* The row of the weight [vocabulary][width] for each token. */
static void embedding(const real *tokens, const real *weight, real *y,
                      int count, int vocabulary, int width)
{
    for (int n = 0; n < count; n++, y += width) {
        const int token = place(real_rint(tokens[n]), vocabulary);
        for (int i = 0; i < width; i++)
            y[i] = weight[token * width + i];
    }
}
