/* Adds to the sums [row of the tile][filter of the block] of a tile what rows of a picture give, whose
   numbers x need no padding. `ends` says that nothing may be read behind the last number of dy. */
static void add_weight_tile(const Walk *walk, int rows, const real *x, const real *dy, real *sums,
                            int high, int ends)
{
    static const int y_at[8] = {0, 16, 32, 48, 64, 80, 96, 112};
    const int i = walk->rows - 1, j = walk->count - 1;
    Walk before = *walk, last = *walk;
    real few[2 * BLOCK] = {0};
    if (!ends || high == BLOCK) {
        tile_across(rows, walk, x, dy, FROM_Y, sums, y_at, high);
        return;
    }
    before.rows = i;
    last.rows = 1;
    last.count = j;
    tile_across(rows, &before, x, dy, FROM_Y, sums, y_at, high);
    tile_across(rows, &last, x + i * walk->a_row, dy + i * walk->b_row, FROM_Y, sums, y_at, high);
    for (int o = 0; o < high; o++)
        few[o] = dy[i * walk->b_row + j * walk->b_next + o];
    last.count = 1;
    tile_across(rows, &last, x + i * walk->a_row + j * walk->a_next, few, FROM_Y, sums, y_at, high);
}

/* dweight[o][c][k][l] = sum over the images and places of dy[n][i][j][o] * what the tap reads of x, which
   is that of `conv_images`. Sums are made for `shares` parts of the images, and then added in order, so
   that they have the same bits for any number of threads: `sums` has room for `shares` times the blocks of
   filters [group][block of 16 filters][k][l][c][filter in the block]. */
static void conv_images_backward_weight(const real *x, const real *dy, real *dweight,
                                        real *sums, real *work, int each,
                                        int images, int height, int width, int channels,
                                        int y_height, int y_width, int filters,
                                        int kernel_h, int kernel_w, int stride_h, int stride_w,
                                        int top, int left, int dilation_h, int dilation_w, int groups,
                                        int rows, int shares)
{
    const int seen = channels / groups, made = filters / groups, taps = kernel_h * kernel_w;
    const int blocks = (made + BLOCK - 1) / BLOCK, parts = (y_height + rows - 1) / rows;
    const int joined = groups == 1 && dilation_w == 1;
    const int columns = joined ? 1 : kernel_w, run = joined ? kernel_w * seen : seen;
    const int most = tile_rows(made < BLOCK ? made : BLOCK), turns = (run + most - 1) / most;
    const int in_block = kernel_h * columns * turns, tiles = groups * blocks * in_block;
    const int size = groups * blocks * taps * seen * BLOCK;
    const int wide = (y_width - 1) * stride_w + (kernel_w - 1) * dilation_w + 1;
    const int reach = (kernel_h - 1) * dilation_h + 1, tall = (y_height - 1) * stride_h + reach;
    const int pads = top > 0 || left > 0 || tall - top > height || wide - left > width;
    const int x_row = (pads ? wide : width) * channels;
    const int large = (double)images * y_height * y_width * filters * taps * seen > PRODUCTS;
    const int threads = large ? THREADS : 1;
    if (shares > images)
        shares = images;
    SHARE(thread, threads, 1, large) {
        const int first = (int)((long long)shares * tiles * thread / threads);
        const int last = (int)((long long)shares * tiles * (thread + 1) / threads);
        for (int share = first / tiles; share * tiles < last; share++) {
            const int begin = share * tiles < first ? first - share * tiles : 0;
            const int end = (share + 1) * tiles > last ? last - share * tiles : tiles;
            const int n0 = (int)((long long)images * share / shares);
            const int n1 = (int)((long long)images * (share + 1) / shares);
            for (int item = n0 * parts; item < n1 * parts; item++) {
                const int n = item / parts, i = item % parts * rows;
                const int many = y_height - i < rows ? y_height - i : rows, above = i * stride_h - top;
                const int is_last = item == images * parts - 1;
                const real *slope = dy + (n * y_height + i) * y_width * filters;
                const real *from = rows_to_read(x + n * height * width * channels,
                                                work + THIS_THREAD * each, pads,
                                                height, width, channels, above, left,
                                                (many - 1) * stride_h + reach, wide);
                const Walk walk = {
                    many, stride_h * x_row, y_width * filters, 1, 0, 0,
                    y_width, stride_w * channels, filters,
                };
                for (int t = begin; t < end; t++) {
                    const int q = begin_of(t % turns, turns, run), l = t / turns % columns;
                    const int few = begin_of(t % turns + 1, turns, run) - q;
                    const int k = t / (turns * columns) % kernel_h;
                    const int block = t / in_block, g = block / blocks, o = block % blocks * BLOCK;
                    const int high = made - o < BLOCK ? made - o : BLOCK;
                    real *to = sums + share * size
                               + (((block * kernel_h + k) * kernel_w + l) * seen + q) * BLOCK;
                    if (item == n0 * parts)
                        for (int s = 0; s < few * BLOCK; s++)
                            to[s] = 0;
                    add_weight_tile(&walk, few,
                                    from + g * seen + k * dilation_h * x_row
                                        + l * dilation_w * channels + q,
                                    slope + g * made + o, to, high,
                                    is_last && g * made + o + BLOCK > filters);
                }
            }
        }
    }
    SHARE(o, filters, 1, shares * size > NUMBERS) {
        const int of_group = o % made, block = o / made * blocks + of_group / BLOCK;
        const real *from = sums + block * taps * seen * BLOCK + of_group % BLOCK;
        for (int tap = 0; tap < taps; tap++)
            for (int c = 0; c < seen; c++) {
                real sum = 0;
                for (int share = 0; share < shares && share < images; share++)
                    sum += from[share * size + (tap * seen + c) * BLOCK];
                dweight[(o * seen + c) * taps + tap] = sum;
            }
    }
}

/* dx[n][i][j][c] = sum over the taps and filters of dy * weight, for strides of 1: the gradient of each
   place is multiplied with all taps at once, and each number of dx gathers its own of them. Each thread
   has `each` numbers of `work`. */
static void conv_images_backward_gathered(const real *dy, const real *packed, real *dx, real *work, int each,
                                          int images, int height, int width, int channels,
                                          int y_height, int y_width, int filters,
                                          int kernel_h, int kernel_w, int top, int left)
{
    const int columns = (kernel_h * kernel_w * channels + BLOCK - 1) / BLOCK * BLOCK;
    const int places = y_height * y_width, most = tile_rows(BLOCK);
    const Walk walk = {1, 0, 0, 1, 0, 0, filters, 1, BLOCK};
    int dy_at[8], part_at[8];
    for (int p = 0; p < most; p++) {
        dy_at[p] = p * filters;
        part_at[p] = p * columns;
    }
    SHARE(n, images, 1, (double)images * places * filters * columns > PRODUCTS) {
        real *parts = work + THIS_THREAD * each, *to = dx + n * height * width * channels;
        for (int r = 0; r < places; r += most)
            for (int first = 0; first < columns; first += BLOCK)
                tile_along(places - r < most ? places - r : most, &walk, dy + (n * places + r) * filters,
                           dy_at, packed + first * filters, 0, FROM_ZERO, parts + r * columns + first,
                           0, part_at, BLOCK, 0, 0);
        for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++, to += channels) {
                const int below = i + top - y_height + 1, behind = j + left - y_width + 1;
                const int k0 = below > 0 ? below : 0, k1 = i + top < kernel_h ? i + top + 1 : kernel_h;
                const int l0 = behind > 0 ? behind : 0, l1 = j + left < kernel_w ? j + left + 1 : kernel_w;
                for (int c = 0; c < channels; c += LANES) {
                    Vector sum = {0};
                    for (int k = k0; k < k1; k++) {
                        const real *from = parts + ((i + top - k) * y_width + j + left) * columns
                                           + k * kernel_w * channels + c;
                        for (int l = l0; l < l1; l++)
                            sum += READ(from + l * (channels - columns));
                    }
                    /* The next place of the row is written over what spills into it. */
                    if (channels - c >= LANES || (channels >= LANES / 2 && j + 1 < width))
                        AT(to + c) = sum;
                    else
                        put_lanes(sum, to + c, channels - c);
                }
            }
    }
}
