/* The largest number of each window of a picture [height][width][channels], channel by channel:
   y[i][j][c] = max over k, l of
                x[i * stride_h + k * dilation_h - top][j * stride_w + l * dilation_w - left][c] */
static void max_pool(const real *x, real *y,
                     int height, int width, int channels,
                     int y_height, int y_width, int kernel_h, int kernel_w,
                     int stride_h, int stride_w, int top, int left, int dilation_h, int dilation_w)
{
    for (int i = 0; i < y_height; i++) {
        const int above = i * stride_h - top;
        const int k1 = end_tap(above, dilation_h, kernel_h, height);
        for (int j = 0; j < y_width; j++, y += channels) {
            const int before = j * stride_w - left;
            const int l1 = end_tap(before, dilation_w, kernel_w, width);
            for (int c = 0; c < channels; c++)
                y[c] = (real)-INFINITY;
            for (int k = first_tap(above, dilation_h); k < k1; k++) {
                for (int l = first_tap(before, dilation_w); l < l1; l++) {
                    const int row = above + k * dilation_h, column = before + l * dilation_w;
                    const real *seen = x + (row * width + column) * channels;
                    for (int c = 0; c < channels; c++)
                        y[c] = larger(y[c], seen[c]);
                }
            }
        }
    }
}
