/* Cell p of `cells` reads the places floor(p * size / cells) to ceil((p + 1) * size / cells) - 1. */
static int cell_start(int cell, int cells, int size)
{
    return cell * size / cells;
}

static int cell_end(int cell, int cells, int size)
{
    return ((cell + 1) * size + cells - 1) / cells;
}

/* The mean of each cell of a volume [depth][height][width][channels]; a picture has depth 1. */
static void adaptive_avg_pool(const real *x, real *y,
                              int depth, int height, int width,
                              int channels, int y_depth, int y_height, int y_width)
{
    for (int h = 0; h < y_depth; h++)
        for (int i = 0; i < y_height; i++)
            for (int j = 0; j < y_width; j++, y += channels) {
                const int d0 = cell_start(h, y_depth, depth), d1 = cell_end(h, y_depth, depth);
                const int k0 = cell_start(i, y_height, height), k1 = cell_end(i, y_height, height);
                const int l0 = cell_start(j, y_width, width), l1 = cell_end(j, y_width, width);
                for (int c = 0; c < channels; c++) {
                    real sum = 0;
                    for (int d = d0; d < d1; d++)
                        for (int k = k0; k < k1; k++)
                            for (int l = l0; l < l1; l++)
                                sum += x[((d * height + k) * width + l) * channels + c];
                    y[c] = sum / (real)((d1 - d0) * (k1 - k0) * (l1 - l0));
                }
            }
}

/* The largest number of each cell. */
static void adaptive_max_pool(const real *x, real *y,
                              int depth, int height, int width,
                              int channels, int y_depth, int y_height, int y_width)
{
    for (int h = 0; h < y_depth; h++)
        for (int i = 0; i < y_height; i++)
            for (int j = 0; j < y_width; j++, y += channels) {
                const int d0 = cell_start(h, y_depth, depth), d1 = cell_end(h, y_depth, depth);
                const int k0 = cell_start(i, y_height, height), k1 = cell_end(i, y_height, height);
                const int l0 = cell_start(j, y_width, width), l1 = cell_end(j, y_width, width);
                for (int c = 0; c < channels; c++) {
                    real most = (real)-INFINITY;
                    for (int d = d0; d < d1; d++)
                        for (int k = k0; k < k1; k++)
                            for (int l = l0; l < l1; l++)
                                most = larger(
                                    most, x[((d * height + k) * width + l) * channels + c]);
                    y[c] = most;
                }
            }
}
