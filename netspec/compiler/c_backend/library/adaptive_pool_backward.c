/* The gradient of a mean is shared by the places of its cell. */
static void adaptive_avg_pool_backward(const real *dy, real *dx,
                                       int depth, int height, int width,
                                       int channels, int y_depth, int y_height, int y_width)
{
    for (int i = 0; i < depth * height * width * channels; i++)
        dx[i] = 0;
    for (int at = 0; at < y_depth * y_height * y_width; at++, dy += channels) {
        const struct cell of = cell_of(at, depth, height, width, y_depth, y_height, y_width);
        const real size = (real)((of.d1 - of.d0) * (of.k1 - of.k0) * (of.l1 - of.l0));
        for (int d = of.d0; d < of.d1; d++)
            for (int k = of.k0; k < of.k1; k++)
                for (int l = of.l0; l < of.l1; l++)
                    for (int c = 0; c < channels; c++)
                        dx[((d * height + k) * width + l) * channels + c] += dy[c] / size;
    }
}

/* That of a largest number goes to the first place of its cell that holds it. */
static void adaptive_max_pool_backward(const real *x, const real *dy, real *dx,
                                       int depth, int height, int width,
                                       int channels, int y_depth, int y_height, int y_width)
{
    for (int i = 0; i < depth * height * width * channels; i++)
        dx[i] = 0;
    for (int at = 0; at < y_depth * y_height * y_width; at++) {
        const struct cell of = cell_of(at, depth, height, width, y_depth, y_height, y_width);
        for (int c = 0; c < channels; c++)
            dx[largest_of_cell(x, of, height, width, channels, c)] += dy[at * channels + c];
    }
}
