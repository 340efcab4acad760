/* The largest number of each window of a volume [depth][height][width][channels]. */
static void max_pool_volume(const real *x, real *y,
                            int depth, int height, int width, int channels,
                            int y_depth, int y_height, int y_width,
                            int kernel_d, int kernel_h, int kernel_w,
                            int stride_d, int stride_h, int stride_w, int front, int top, int left,
                            int dilation_d, int dilation_h, int dilation_w)
{
    for (int h = 0; h < y_depth; h++) {
        const int ahead = h * stride_d - front;
        const int d1 = end_tap(ahead, dilation_d, kernel_d, depth);
        for (int i = 0; i < y_height; i++) {
            const int above = i * stride_h - top;
            const int k1 = end_tap(above, dilation_h, kernel_h, height);
            for (int j = 0; j < y_width; j++, y += channels) {
                const int before = j * stride_w - left;
                const int l1 = end_tap(before, dilation_w, kernel_w, width);
                for (int c = 0; c < channels; c++)
                    y[c] = (real)-INFINITY;
                for (int d = first_tap(ahead, dilation_d); d < d1; d++)
                    for (int k = first_tap(above, dilation_h); k < k1; k++)
                        for (int l = first_tap(before, dilation_w); l < l1; l++) {
                            const int plane = ahead + d * dilation_d;
                            const int row = plane * height + above + k * dilation_h;
                            const int place = row * width + before + l * dilation_w;
                            for (int c = 0; c < channels; c++)
                                y[c] = larger(y[c], x[place * channels + c]);
                        }
            }
        }
    }
}
