/* The outputs of a tile one after the other, for `high` filters weight[o * filter + c * channel + 3 * k + l],
   or with the taps from the last to the first: a number of x that is not finite reaches those alone whose
   windows hold it. */
static void mend_tile(const real *x, const real *weight, int filter, int channel, int is_back, const real *bias, const real *skip, real *y,
                      int height, int width, int channels, int above, int before,
                      int y_row, int y_step, int tall, int wide, int high, const Limits *limits)
{
    for (int p = 0; p < tall * wide; p++)
        for (int o = 0; o < high; o++) {
            const int i = above + p / wide, j = before + p % wide;
            const int at = p / wide * y_row + p % wide * y_step + o;
            real sum = bias ? bias[o] : 0;
            for (int k = first_tap(i, 1); k < end_tap(i, 1, 3, height); k++)
                for (int l = first_tap(j, 1); l < end_tap(j, 1, 3, width); l++)
                    for (int c = 0; c < channels; c++)
                        sum += x[((i + k) * width + j + l) * channels + c]
                               * weight[o * filter + c * channel + (is_back ? 8 - 3 * k - l : 3 * k + l)];
            sum += skip ? skip[at] : 0;
            if (limits)
                sum = sum < limits->lowest ? limits->lowest : sum > limits->highest ? limits->highest : sum;
            y[at] = sum;
        }
}

/* Where a tile of four by four outputs is: its picture, row and column. */
typedef struct {
    int image, row, column;
} TilePlace;

static TilePlace tile_place(int tile, int tall, int wide)
{
    const TilePlace place = {tile / (tall * wide), tile / wide % tall * 4, tile % wide * 4};
    return place;
}

/* Transforms the parts of x that make some tiles. */
static void tiles_from(const real *x, real *v, real *zeros, int first, int count, int tall, int wide,
                       int height, int width, int channels, int top, int left, int v_row, int v_place)
{
    for (int c = 0; c < 6 * v_row; c++)
        zeros[c] = 0;
    for (int t = 0; t < count; t++) {
        const TilePlace at = tile_place(first + t, tall, wide);
        const int i = at.row - top, j = at.column - left;
        const real *rows[6];
        for (int r = 0; r < 6; r++)
            rows[r] = i + r >= 0 && i + r < height
                          ? x + ((at.image * height + i + r) * width + j) * channels : zeros;
        winograd_from(rows, channels, j < 0 ? -j : 0, width - j, channels, v + t * v_row, v_place);
    }
}

/* What `conv_images` computes with filters of 3 x 3 taps, a stride and a dilation of 1, and one group, by
   Winograd's algorithm, up to `strip` tiles at a time. The filters are transformed as
   [block of 16][place of 36][channel][filter in the block], and `weight` is as the layer has it:
   [filter][channel][k][l], or that of the convolution that is gone back through if `is_back`. */
static void conv_winograd(const real *x, const real *transformed, const real *weight,
                          const real *bias, const real *skip, real *y, real *work, int each,
                          int images, int height, int width, int channels,
                          int y_height, int y_width, int filters, int top, int left,
                          int strip, int is_back, int is_limited, real lowest, real highest)
{
    const Limits limits = {lowest, highest}, *within = is_limited ? &limits : 0;
    const int tall = (y_height + 3) / 4, wide = (y_width + 3) / 4, tiles = images * tall * wide;
    const int v_row = (channels + LANES - 1) / LANES * LANES, blocks = (filters + BLOCK - 1) / BLOCK;
    const int v_place = strip * v_row + BLOCK, m_place = (strip + 1) * BLOCK;
    const int large = (double)tiles * 16 * filters * 9 * channels > PRODUCTS, threads = large ? THREADS : 1;
    /* Threads that have no strip of their own share the filters of one. */
    const int strips = (tiles + strip - 1) / strip, many = (tiles + strips - 1) / strips;
    const int needed = (threads + strips - 1) / strips, shares = needed < blocks ? needed : blocks;
    const int filter = is_back ? 9 : channels * 9, channel = is_back ? filters * 9 : 9;
    SHARE(item, strips * shares, 1, large) {
        const int first = item / shares * many, count = tiles - first < many ? tiles - first : many;
        const int end = (item % shares + 1) * blocks / shares * BLOCK;
        real *zeros = work + THIS_THREAD * each, *v = zeros + 6 * v_row, *m = v + 36 * v_place;
        tiles_from(x, v, zeros, first, count, tall, wide, height, width, channels, top, left, v_row, v_place);
        for (int o = item % shares * blocks / shares * BLOCK; o < end; o += BLOCK) {
            const int high = filters - o < BLOCK ? filters - o : BLOCK;
            winograd_products(v, transformed + o * 36 * channels, m, count, channels,
                              v_row, v_place, m_place);
            for (int t = 0; t < count; t++) {
                const TilePlace to = tile_place(first + t, tall, wide);
                const int at = ((to.image * y_height + to.row) * y_width + to.column) * filters + o;
                const int rows = y_height - to.row < 4 ? y_height - to.row : 4;
                const int columns = y_width - to.column < 4 ? y_width - to.column : 4;
                const real *added = bias ? bias + o : 0, *with = skip ? skip + at : 0;
                if (!winograd_to(m + t * BLOCK, m_place, added, with, y + at, y_width * filters, filters,
                                 rows, columns, high, within))
                    mend_tile(x + to.image * height * width * channels, weight + o * filter,
                              filter, channel, is_back, added, with, y + at, height, width, channels,
                              to.row - top, to.column - left, y_width * filters, filters,
                              rows, columns, high, within);
            }
        }
    }
}
