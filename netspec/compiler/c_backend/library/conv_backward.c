/* Adds to sums[c][o] the products x[i * x_step + c] * dy[i * dy_step + o] of `count` places, for up to
   four channels and eight filters. */
static void add_outer_products(const real *x, const real *dy, real *sums,
                               int x_step, int dy_step, int count, int channels, int filters)
{
    if (channels < 4 || filters < 8) {
        for (int i = 0; i < count; i++, x += x_step, dy += dy_step)
            for (int c = 0; c < channels; c++)
                for (int o = 0; o < filters; o++)
                    sums[8 * c + o] += x[c] * dy[o];
        return;
    }
    for (int half = 0; half < 8; half += 4) {
        const real *from = x, *slope = dy + half;
        real a[4] = {0}, b[4] = {0}, c[4] = {0}, d[4] = {0};
        for (int i = 0; i < count; i++, from += x_step, slope += dy_step)
            for (int o = 0; o < 4; o++) {
                a[o] += from[0] * slope[o];
                b[o] += from[1] * slope[o];
                c[o] += from[2] * slope[o];
                d[o] += from[3] * slope[o];
            }
        for (int o = 0; o < 4; o++) {
            sums[half + o] += a[o];
            sums[8 + half + o] += b[o];
            sums[16 + half + o] += c[o];
            sums[24 + half + o] += d[o];
        }
    }
}

/* The sums, over the images and places, of dy times what a tap reads of x, which is that in `conv`: the
   gradients of that tap, for up to four channels and eight filters. A picture has depth 1. */
static void conv_backward_tap(const real *x, const real *dy, real *sums,
                              int images, int depth, int height, int width, int channels,
                              int y_depth, int y_height, int y_width, int filters,
                              int stride_d, int stride_h, int stride_w,
                              int ahead, int above, int before, int wide, int high)
{
    /* The places of a row whose tap lies inside. */
    const int j0 = before >= 0 ? 0 : (stride_w - 1 - before) / stride_w;
    const int inside = before < width ? (width - before + stride_w - 1) / stride_w : 0;
    const int j1 = inside < y_width ? inside : y_width;
    for (int i = 0; i < 4 * 8; i++)
        sums[i] = 0;
    for (int n = 0; n < images; n++)
        for (int h = 0; h < y_depth; h++)
            for (int i = 0; i < y_height; i++) {
                const int plane = h * stride_d + ahead, row = i * stride_h + above;
                const int from = ((n * depth + plane) * height + row) * width + j0 * stride_w + before;
                const int at = ((n * y_depth + h) * y_height + i) * y_width + j0;
                if (plane >= 0 && plane < depth && row >= 0 && row < height && j1 > j0)
                    add_outer_products(x + from * channels, dy + at * filters, sums,
                                       stride_w * channels, filters, j1 - j0, wide, high);
            }
}

/* dweight[o][c][tap] = sum over the images and places of dy[n][...][o] * x[n][...][c]. */
static void conv_backward_weight(const real *x, const real *dy, real *dweight,
                                 int images, int depth, int height, int width, int channels,
                                 int y_depth, int y_height, int y_width, int filters,
                                 int kernel_d, int kernel_h, int kernel_w,
                                 int stride_d, int stride_h, int stride_w,
                                 int front, int top, int left,
                                 int dilation_d, int dilation_h, int dilation_w, int groups)
{
    const int seen = channels / groups, made = filters / groups;
    const int plane = kernel_h * kernel_w, taps = kernel_d * plane, blocks = (made + 7) / 8;
    PARALLEL
    for (int block = 0; block < groups * blocks; block++) {
        const int g = block / blocks, o = block % blocks * 8;
        const int high = made - o < 8 ? made - o : 8;
        for (int c = 0; c < seen; c += 4)
            for (int tap = 0; tap < taps; tap++) {
                const int wide = seen - c < 4 ? seen - c : 4;
                const int d = tap / plane, k = tap % plane / kernel_w, l = tap % kernel_w;
                real sums[4 * 8];
                conv_backward_tap(x + g * seen + c, dy + g * made + o, sums, images, depth, height,
                                  width, channels, y_depth, y_height, y_width, filters, stride_d,
                                  stride_h, stride_w, d * dilation_d - front, k * dilation_h - top,
                                  l * dilation_w - left, wide, high);
                for (int a = 0; a < wide; a++)
                    for (int b = 0; b < high; b++)
                        dweight[((g * made + o + b) * seen + c + a) * taps + tap] = sums[8 * a + b];
            }
    }
}
