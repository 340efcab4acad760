/* The larger numbers of two vectors; no number (NaN) where one of them has none. */
static INLINE Vector larger_lanes(Vector a, Vector b)
{
    const Mask first = (a >= b) | (a != a);
    return CHOSEN(first, a, b);
}

/* What `max_pool` computes, for all images. Vectors may write into the next place of a row, which is
   written over. The limits are those of `conv_images`. */
static void max_pool_of_many(const real *x, real *y, int images,
                             int height, int width, int channels,
                             int y_height, int y_width, int kernel_h, int kernel_w,
                             int stride_h, int stride_w, int top, int left,
                             int dilation_h, int dilation_w,
                             int is_limited, real lowest, real highest)
{
    const Limits limits = {lowest, highest};
    SHARE(row, images * y_height, 1, (double)images * height * width * channels > NUMBERS) {
        const int n = row / y_height, above = row % y_height * stride_h - top;
        const int k0 = first_tap(above, dilation_h), k1 = end_tap(above, dilation_h, kernel_h, height);
        const real *picture = x + n * height * width * channels;
        for (int j = 0; j < y_width; j++) {
            const int before = j * stride_w - left;
            const int inside = before >= 0 && before + (kernel_w - 1) * dilation_w < width;
            const int l0 = inside ? 0 : first_tap(before, dilation_w);
            const int l1 = inside ? kernel_w : end_tap(before, dilation_w, kernel_w, width);
            real *to = y + (row * y_width + j) * channels;
            const int last = (above + (k1 - 1) * dilation_h) * width + before + (l1 - 1) * dilation_w;
            for (int c = 0; c < channels; c += LANES) {
                /* What is behind the channels may be read, but not behind the last place of all, and
                   written over, but not behind a row, which may be another thread's. */
                const int few = channels >= LANES / 2, high = channels - c;
                const int whole = high >= LANES || (few && (n + 1 < images || last + 1 < height * width));
                Vector most = (Vector){0} - (real)INFINITY;
                for (int k = k0; k < k1; k++)
                    for (int l = l0; l < l1; l++) {
                        const real *seen = picture + c
                            + ((above + k * dilation_h) * width + before + l * dilation_w) * channels;
                        most = larger_lanes(most, whole ? READ(seen) : some_lanes(seen, high));
                    }
                if (is_limited)
                    most = limited(most, &limits);
                if (high >= LANES || (few && j + 1 < y_width))
                    AT(to + c) = most;
                else
                    put_lanes(most, to + c, high);
            }
        }
    }
}

/* What `max_pool_backward` computes, for pictures whose windows do not share places. A vector that has
   all channels may write into the next place. */
static void max_pool_apart_backward(const real *x, const real *y, const real *dy, real *dx, int images,
                                    int height, int width, int channels,
                                    int y_height, int y_width, int kernel_h, int kernel_w,
                                    int stride_h, int stride_w)
{
    SHARE(row, images * y_height, 1, (double)images * height * width * channels > NUMBERS) {
        const int n = row / y_height, i = row % y_height;
        const int end = i == y_height - 1 ? height : (i + 1) * stride_h;
        const int at = (n * height + i * stride_h) * width * channels;
        /* Places that no window has get 0. */
        if (end - i * stride_h != kernel_h || y_width * kernel_w != width)
            for (int p = 0; p < (end - i * stride_h) * width * channels; p++)
                dx[at + p] = 0;
        for (int j = 0; j < y_width; j++)
            for (int c = 0; c < channels; c += LANES) {
                const int from = (row * y_width + j) * channels + c, high = channels - c;
                /* As in `max_pool_of_many`. */
                const int few = channels < LANES && channels >= LANES / 2;
                const int whole = high >= LANES || (few && row + 1 < images * y_height);
                const int spills = high >= LANES || (few && j + 1 < y_width && stride_w == kernel_w);
                const Vector most = whole ? READ(y + from) : some_lanes(y + from, high);
                const Vector slope = whole ? READ(dy + from) : some_lanes(dy + from, high);
                Mask found = most < most;
                for (int k = 0; k < kernel_h; k++)
                    for (int l = 0; l < kernel_w; l++) {
                        const int here = at + (k * width + j * stride_w + l) * channels + c;
                        const Vector seen = whole ? READ(x + here) : some_lanes(x + here, high);
                        const Mask first = ((seen >= most) | (seen != seen)) & ~found;
                        found |= first;
                        const Vector given = CHOSEN(first, slope, (Vector){0});
                        if (spills)
                            AT(dx + here) = given;
                        else
                            put_lanes(given, dx + here, high);
                    }
            }
    }
}
