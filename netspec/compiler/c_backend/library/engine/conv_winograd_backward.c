/* dweight[o][c] is the transpose of G, times the sums over shares [block of 16][place of 36][channel][filter
   in the block], times G; see `winograd_filters`. */
static void winograd_weight(const real *sums, real *dweight, int filters, int channels, int shares, int size)
{
    static const real G[3][6] = {
        {(real)1 / 4, -(real)1 / 6, -(real)1 / 6, (real)1 / 24, (real)1 / 24, 0},
        {0, -(real)1 / 6, (real)1 / 6, (real)1 / 12, -(real)1 / 12, 0},
        {0, -(real)1 / 6, -(real)1 / 6, (real)1 / 6, (real)1 / 6, 1},
    };
    const int blocks = (filters + BLOCK - 1) / BLOCK;
    SHARE(item, blocks * channels, 1, filters * channels * 36 > NUMBERS) {
        const int first = item / channels * BLOCK, c = item % channels;
        const real *from = sums + first * 36 * channels + c * BLOCK;
        real half[3][6][BLOCK] = {{{0}}};
        for (int r = 0; r < 6; r++)
            for (int s = 0; s < 6; s++)
                for (int o = 0; o < BLOCK; o++) {
                    real sum = 0;
                    for (int share = 0; share < shares; share++)
                        sum += from[share * size + (r * 6 + s) * channels * BLOCK + o];
                    for (int k = 0; k < 3; k++)
                        half[k][s][o] += G[k][r] * sum;
                }
        for (int o = 0; o < BLOCK && first + o < filters; o++)
            for (int k = 0; k < 3; k++)
                for (int l = 0; l < 3; l++) {
                    real sum = 0;
                    for (int s = 0; s < 6; s++)
                        sum += G[l][s] * half[k][s][o];
                    dweight[((first + o) * channels + c) * 9 + k * 3 + l] = sum;
                }
    }
}

/* What `conv_images_backward_weight` computes, for the convolutions of `conv_winograd`. Of `shares` parts of
   the tiles, sums have 36 numbers for each filter, in blocks, and channel. */
static void conv_winograd_backward_weight(const real *x, const real *dy, real *dweight,
                                          real *sums, real *work, int each,
                                          int images, int height, int width, int channels,
                                          int y_height, int y_width, int filters, int top, int left,
                                          int strip, int shares)
{
    const int tall = (y_height + 3) / 4, wide = (y_width + 3) / 4, tiles = images * tall * wide;
    const int blocks = (filters + BLOCK - 1) / BLOCK, most = tile_rows(BLOCK);
    const int v_row = (channels + LANES - 1) / LANES * LANES, m_row = blocks * BLOCK;
    const int v_place = strip * v_row + BLOCK, m_place = strip * m_row + BLOCK;
    const int size = blocks * 36 * channels * BLOCK;
    const int large = (double)tiles * 16 * filters * 9 * channels > PRODUCTS, threads = large ? THREADS : 1;
    /* Threads that have no share of their own have a part of the filters of one. */
    const int needed = (threads + shares - 1) / shares, groups = needed < blocks ? needed : blocks;
    int to_at[8];
    for (int p = 0; p < most; p++)
        to_at[p] = p * BLOCK;
    SHARE(item, shares * groups, 1, large) {
        const int share = item / groups, group = item % groups;
        const int begin = group * blocks / groups * BLOCK, end = (group + 1) * blocks / groups * BLOCK;
        const int t0 = (int)((long long)tiles * share / shares);
        const int t1 = (int)((long long)tiles * (share + 1) / shares);
        const int high = filters - begin < end - begin ? filters - begin : end - begin;
        real *zeros = work + THIS_THREAD * each, *v = zeros + 6 * v_row, *m = v + 36 * v_place;
        real *to = sums + share * size;
        for (int p = begin * 36 * channels; p < end * 36 * channels; p++)
            to[p] = 0;
        for (int p = 0; p < 36 * m_place; p++)
            m[p] = 0;
        for (int first = t0; first < t1; first += strip) {
            const int count = t1 - first < strip ? t1 - first : strip;
            const Walk walk = {1, 0, 0, 1, 0, 0, count, v_row, m_row};
            tiles_from(x, v, zeros, first, count, tall, wide, height, width, channels, top, left,
                       v_row, v_place);
            for (int t = 0; t < count; t++) {
                const TilePlace at = tile_place(first + t, tall, wide);
                winograd_slopes(dy + ((at.image * y_height + at.row) * y_width + at.column) * filters + begin,
                                y_width * filters, filters, y_height - at.row, y_width - at.column,
                                high, m + t * m_row + begin, m_place);
            }
            for (int p = 0; p < 36; p++)
                for (int o = begin; o < end; o += BLOCK)
                    for (int c = 0; c < channels; c += most)
                        tile_across(channels - c < most ? channels - c : most, &walk, v + p * v_place + c,
                                    m + p * m_place + o, FROM_Y, to + ((o * 36 + p * BLOCK) * channels + c * BLOCK),
                                    to_at, BLOCK);
        }
    }
    winograd_weight(sums, dweight, filters, channels, shares, size);
}
