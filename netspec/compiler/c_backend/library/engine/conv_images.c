/* A part of a picture [height][width][channels], from a place on that may lie outside, with zeros where
   it does. */
static void padded_part(const real *x, real *part, int height, int width, int channels,
                        int above, int before, int part_height, int part_width)
{
    const int j0 = before < 0 ? -before : 0, left = j0 < part_width ? j0 : part_width;
    const int end = width - before, right = end < part_width ? end : part_width;
    for (int i = 0; i < part_height; i++, part += part_width * channels) {
        const int row = above + i, inside = row >= 0 && row < height && right > left;
        const int j1 = inside ? left : part_width, j2 = inside ? right : part_width;
        const real *from = x + (row * width + before) * channels;
        for (int c = 0; c < j1 * channels; c++)
            part[c] = 0;
        for (int c = j1 * channels; c < j2 * channels; c++)
            part[c] = from[c];
        for (int c = j2 * channels; c < part_width * channels; c++)
            part[c] = 0;
    }
}

/* Where the rows begin that a part of a convolution reads: in the picture, or in a copy with zeros around
   it if it `pads`. */
static const real *rows_to_read(const real *x, real *part, int pads, int height, int width, int channels,
                                int above, int left, int tall, int wide)
{
    if (!pads)
        return x + (above * width - left) * channels;
    padded_part(x, part, height, width, channels, above, -left, tall, wide);
    return part;
}

/* The tiles of a convolution of one channel, whose places follow each other as what they read does. */
static void rows_of_places(const real *x, const Walk *walk, const real *block, const real *bias, int start,
                           real *y, const real *skip, int x_row, int y_height, int y_width,
                           int y_row, int y_step, int high, int most, int spill, const Limits *limits)
{
    int y_at[8];
    for (int p = 0; p < most; p++)
        y_at[p] = p * y_step;
    for (int i = 0; i < y_height; i++)
        for (int j = 0; j < y_width; j += most)
            tile_beside(y_width - j < most ? y_width - j : most, walk, x + i * x_row + j, block, bias,
                        start, y + i * y_row + j * y_step, skip ? skip + i * y_row + j * y_step : 0,
                        y_at, high, spill, limits);
}

/* The convolution of rows that need no padding, with the filters of one group, tile by tile. */
static void conv_group(const real *x, const real *packed, const real *bias, real *y, const real *skip,
                       int x_row, int channels, int y_height, int y_width, int filters, int seen,
                       int kernel_h, int kernel_w, int stride_h, int stride_w,
                       int dilation_h, int dilation_w, int y_row, int y_step, const Limits *limits)
{
    /* Taps that lie side by side in memory are one run. */
    const int joined = seen == channels && dilation_w == 1;
    const Walk walk = {
        kernel_h, dilation_h * x_row, kernel_w * seen * BLOCK,
        joined && kernel_w ? 1 : kernel_w, dilation_w * channels, seen * BLOCK,
        joined ? kernel_w * seen : seen, 1, BLOCK,
    };
    const int start = bias ? FROM_BIAS : FROM_ZERO;
    for (int o = 0; o < filters; o += BLOCK) {
        const int high = filters - o < BLOCK ? filters - o : BLOCK, most = tile_rows(high);
        /* The next place is written over what spilled into it, which is no more than one place: if one
           tile makes all filters. */
        const int spill = filters <= 2 * LANES && filters <= BLOCK && y_step == filters && y_row == y_width * y_step
                          && 2 * filters >= (high > LANES ? 2 : 1) * LANES;
        const real *block = packed + o * kernel_h * kernel_w * seen;
        const real *added = bias ? bias + o : 0, *with = skip ? skip + o : 0;
        if (stride_w * channels == 1) {
            rows_of_places(x, &walk, block, added, start, y + o, with, stride_h * x_row,
                           y_height, y_width, y_row, y_step, high, most, spill, limits);
            continue;
        }
        int x_at[8], y_at[8], used = 0;
        for (int i = 0; i < y_height; i++)
            for (int j = 0; j < y_width; j++) {
                x_at[used] = i * stride_h * x_row + j * stride_w * channels;
                y_at[used++] = i * y_row + j * y_step;
                if (used == most) {
                    tile_along(used, &walk, x, x_at, block, added, start, y + o, with, y_at, high, spill,
                               limits);
                    used = 0;
                }
            }
        if (used)
            tile_along(used, &walk, x, x_at, block, added, start, y + o, with, y_at, high, spill, limits);
    }
}

/* Convolution of pictures, as `conv` does it for one, with blocks of 16 filters. Threads share parts of
   `rows` rows. The outputs of a row lie `y_step` apart, rows `y_row` and pictures `y_image`. Each thread
   has `each` numbers of `work`. What `skip` has is added to the outputs, which are then kept within limits
   if `is_limited`. */
static void conv_images(const real *x, const real *packed, const real *bias, const real *skip,
                        real *y, real *work, int each,
                        int images, int height, int width, int channels,
                        int y_height, int y_width, int filters,
                        int kernel_h, int kernel_w, int stride_h, int stride_w, int top, int left,
                        int dilation_h, int dilation_w, int groups,
                        int rows, int y_image, int y_row, int y_step,
                        int is_limited, real lowest, real highest)
{
    const Limits limits = {lowest, highest};
    const int seen = channels / groups, made = filters / groups;
    const int each_rows = rows_of_turn(rows, y_height, images), parts = (y_height - 1) / each_rows + 1;
    const int blocks = (made + BLOCK - 1) / BLOCK * BLOCK;
    const int wide = (y_width - 1) * stride_w + (kernel_w > 0 ? kernel_w - 1 : 0) * dilation_w + 1;
    const int reach = (kernel_h > 0 ? kernel_h - 1 : 0) * dilation_h + 1;
    const int high = (y_height - 1) * stride_h + reach;
    const int pads = top > 0 || left > 0 || high - top > height || wide - left > width;
    const int x_row = (pads ? wide : width) * channels;
    const double products = (double)images * y_height * y_width * filters * kernel_h * kernel_w * seen;
    SHARE(item, images * parts, 1, products > PRODUCTS) {
        const int n = item / parts, i = item % parts * each_rows;
        const int many = y_height - i < each_rows ? y_height - i : each_rows, above = i * stride_h - top;
        const real *from = rows_to_read(x + n * height * width * channels, work + THIS_THREAD * each, pads,
                                        height, width, channels, above, left,
                                        (many - 1) * stride_h + reach, wide);
        const int at = n * y_image + i * y_row;
        for (int g = 0; g < groups; g++)
            conv_group(from + g * seen, packed + g * blocks * kernel_h * kernel_w * seen,
                       bias ? bias + g * made : 0, y + at + g * made, skip ? skip + at + g * made : 0,
                       x_row, channels, many, y_width, made, seen, kernel_h, kernel_w,
                       stride_h, stride_w, dilation_h, dilation_w, y_row, y_step,
                       is_limited ? &limits : 0);
    }
}
