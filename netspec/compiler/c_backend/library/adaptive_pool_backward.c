/* The gradient of a mean is shared by the places of its cell. */
static void adaptive_avg_pool_backward(const real *dy, real *dx,
                                       int depth, int height, int width,
                                       int channels, int y_depth, int y_height, int y_width)
{
    for (int i = 0; i < depth * height * width * channels; i++)
        dx[i] = 0;
    for (int h = 0; h < y_depth; h++)
        for (int i = 0; i < y_height; i++)
            for (int j = 0; j < y_width; j++, dy += channels) {
                const int d0 = cell_start(h, y_depth, depth), d1 = cell_end(h, y_depth, depth);
                const int k0 = cell_start(i, y_height, height), k1 = cell_end(i, y_height, height);
                const int l0 = cell_start(j, y_width, width), l1 = cell_end(j, y_width, width);
                const real size = (real)((d1 - d0) * (k1 - k0) * (l1 - l0));
                for (int d = d0; d < d1; d++)
                    for (int k = k0; k < k1; k++)
                        for (int l = l0; l < l1; l++)
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
    for (int h = 0; h < y_depth; h++)
        for (int i = 0; i < y_height; i++)
            for (int j = 0; j < y_width; j++, dy += channels) {
                const int d0 = cell_start(h, y_depth, depth), d1 = cell_end(h, y_depth, depth);
                const int k0 = cell_start(i, y_height, height), k1 = cell_end(i, y_height, height);
                const int l0 = cell_start(j, y_width, width), l1 = cell_end(j, y_width, width);
                for (int c = 0; c < channels; c++) {
                    int best = ((d0 * height + k0) * width + l0) * channels + c;
                    for (int d = d0; d < d1; d++)
                        for (int k = k0; k < k1; k++)
                            for (int l = l0; l < l1; l++) {
                                const int here = ((d * height + k) * width + l) * channels + c;
                                if (is_above(x[here], x[best]))
                                    best = here;
                            }
                    dx[best] += dy[c];
                }
            }
}
