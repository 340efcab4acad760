/* A part of a volume: along each axis its first place and the one behind its last. */
struct cell {
    int d0, d1, k0, k1, l0, l1;
};

/* The cell that output `at` of [y_depth][y_height][y_width] reads. Along an axis, cell p of n reads the places
   floor(p * size / n) to ceil((p + 1) * size / n) - 1. */
static struct cell cell_of(int at, int depth, int height, int width,
                           int y_depth, int y_height, int y_width)
{
    const int j = at % y_width, i = at / y_width % y_height, h = at / y_width / y_height;
    struct cell cell;
    cell.d0 = h * depth / y_depth;
    cell.d1 = ((h + 1) * depth + y_depth - 1) / y_depth;
    cell.k0 = i * height / y_height;
    cell.k1 = ((i + 1) * height + y_height - 1) / y_height;
    cell.l0 = j * width / y_width;
    cell.l1 = ((j + 1) * width + y_width - 1) / y_width;
    return cell;
}

/* The mean of each cell of a volume [depth][height][width][channels]; a picture has depth 1. */
static void adaptive_avg_pool(const real *x, real *y,
                              int depth, int height, int width,
                              int channels, int y_depth, int y_height, int y_width)
{
    for (int at = 0; at < y_depth * y_height * y_width; at++) {
        const struct cell of = cell_of(at, depth, height, width, y_depth, y_height, y_width);
        const real size = (real)((of.d1 - of.d0) * (of.k1 - of.k0) * (of.l1 - of.l0));
        for (int c = 0; c < channels; c++) {
            real sum = 0;
            for (int d = of.d0; d < of.d1; d++)
                for (int k = of.k0; k < of.k1; k++)
                    for (int l = of.l0; l < of.l1; l++)
                        sum += x[((d * height + k) * width + l) * channels + c];
            y[at * channels + c] = sum / size;
        }
    }
}

/* The first place of a cell that holds its largest number, in one channel. */
static int largest_of_cell(const real *x, struct cell of,
                           int height, int width, int channels, int channel)
{
    int best = ((of.d0 * height + of.k0) * width + of.l0) * channels + channel;
    for (int d = of.d0; d < of.d1; d++)
        for (int k = of.k0; k < of.k1; k++)
            for (int l = of.l0; l < of.l1; l++) {
                const int here = ((d * height + k) * width + l) * channels + channel;
                if (is_above(x[here], x[best]))
                    best = here;
            }
    return best;
}

/* The largest number of each cell. */
static void adaptive_max_pool(const real *x, real *y,
                              int depth, int height, int width,
                              int channels, int y_depth, int y_height, int y_width)
{
    for (int at = 0; at < y_depth * y_height * y_width; at++) {
        const struct cell of = cell_of(at, depth, height, width, y_depth, y_height, y_width);
        for (int c = 0; c < channels; c++)
            y[at * channels + c] = x[largest_of_cell(x, of, height, width, channels, c)];
    }
}
