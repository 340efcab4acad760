/* The length of a window that begins at `start`, as far as it lies from `low` to `high`. */
static int window_length(int start, int taps, int low, int high)
{
    const int first = start > low ? start : low;
    const int end = start + taps < high ? start + taps : high;
    return end > first ? end - first : 1;
}

/* The mean of each window of a volume [depth][height][width][channels]; a picture has depth 1.
   A window's size is `divisor`, or, if that is 0, the numbers in it, with those of the padding
   (front to back, top to bottom, left to right) if `counts_padding`. */
static void avg_pool(const real *x, real *y,
                     int depth, int height, int width, int channels,
                     int y_depth, int y_height, int y_width,
                     int kernel_d, int kernel_h, int kernel_w,
                     int stride_d, int stride_h, int stride_w,
                     int front, int back, int top, int bottom, int left, int right,
                     int counts_padding, int divisor)
{
    const int pads = counts_padding ? 1 : 0;
    for (int h = 0; h < y_depth; h++) {
        const int ahead = h * stride_d - front;
        const int d1 = end_tap(ahead, 1, kernel_d, depth);
        const int deep = window_length(ahead, kernel_d, -pads * front, depth + pads * back);
        for (int i = 0; i < y_height; i++) {
            const int above = i * stride_h - top;
            const int k1 = end_tap(above, 1, kernel_h, height);
            const int high = window_length(above, kernel_h, -pads * top, height + pads * bottom);
            for (int j = 0; j < y_width; j++, y += channels) {
                const int before = j * stride_w - left;
                const int l1 = end_tap(before, 1, kernel_w, width);
                const int wide = window_length(before, kernel_w, -pads * left, width + pads * right);
                const real size = (real)(divisor ? divisor : deep * high * wide);
                for (int c = 0; c < channels; c++)
                    y[c] = 0;
                for (int d = first_tap(ahead, 1); d < d1; d++)
                    for (int k = first_tap(above, 1); k < k1; k++)
                        for (int l = first_tap(before, 1); l < l1; l++) {
                            const int row = (ahead + d) * height + above + k;
                            const real *seen = x + (row * width + before + l) * channels;
                            for (int c = 0; c < channels; c++)
                                y[c] += seen[c];
                        }
                for (int c = 0; c < channels; c++)
                    y[c] /= size;
            }
        }
    }
}
