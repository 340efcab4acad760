/* Convolution with one filter for each channel: y[i][j][c] = bias[c] + sum over k, l of
   x[i * stride_h + k * dilation_h - top][j * stride_w + l * dilation_w - left][c] * weight[k][l][c]
   */
static void depthwise_conv(const real *x, const real *weight, const real *bias, real *y,
                           int height, int width, int channels, int y_height, int y_width,
                           int kernel_h, int kernel_w, int stride_h, int stride_w,
                           int top, int left, int dilation_h, int dilation_w)
{
    for (int i = 0; i < y_height; i++) {
        const int above = i * stride_h - top;
        const int k1 = end_tap(above, dilation_h, kernel_h, height);
        for (int j = 0; j < y_width; j++, y += channels) {
            const int before = j * stride_w - left;
            const int l1 = end_tap(before, dilation_w, kernel_w, width);
            for (int c = 0; c < channels; c++)
                y[c] = bias ? bias[c] : 0;
            for (int k = first_tap(above, dilation_h); k < k1; k++) {
                for (int l = first_tap(before, dilation_w); l < l1; l++) {
                    const int row = above + k * dilation_h, column = before + l * dilation_w;
                    const real *seen = x + (row * width + column) * channels;
                    const real *filter = weight + (k * kernel_w + l) * channels;
                    for (int c = 0; c < channels; c++)
                        y[c] += seen[c] * filter[c];
                }
            }
        }
    }
}
