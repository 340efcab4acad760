/* Transposed convolution of a volume [depth][height][width][channels]; a picture has depth 1.
   Each number of x adds its products with the filters weight[c][d][k][l][o] to the part of y that
   they reach, which begins as the bias. */
static void conv_transpose(const real *x, const real *weight, const real *bias, real *y,
                           int depth, int height, int width, int channels,
                           int y_depth, int y_height, int y_width, int filters,
                           int kernel_d, int kernel_h, int kernel_w,
                           int stride_d, int stride_h, int stride_w, int front, int top, int left,
                           int dilation_d, int dilation_h, int dilation_w, int groups)
{
    const int seen = channels / groups, made = filters / groups;
    for (int p = 0; p < y_depth * y_height * y_width; p++)
        for (int o = 0; o < filters; o++)
            y[p * filters + o] = bias ? bias[o] : 0;
    for (int h = 0; h < depth; h++) {
        const int ahead = h * stride_d - front;
        const int d1 = end_tap(ahead, dilation_d, kernel_d, y_depth);
        for (int i = 0; i < height; i++) {
            const int above = i * stride_h - top;
            const int k1 = end_tap(above, dilation_h, kernel_h, y_height);
            for (int j = 0; j < width; j++, x += channels) {
                const int before = j * stride_w - left;
                const int l1 = end_tap(before, dilation_w, kernel_w, y_width);
                for (int d = first_tap(ahead, dilation_d); d < d1; d++)
                    for (int k = first_tap(above, dilation_h); k < k1; k++)
                        for (int l = first_tap(before, dilation_w); l < l1; l++) {
                            const int plane = ahead + d * dilation_d;
                            const int row = plane * y_height + above + k * dilation_h;
                            const int place = row * y_width + before + l * dilation_w;
                            const int tap = (d * kernel_h + k) * kernel_w + l;
                            for (int c = 0; c < channels; c++) {
                                const int taps = kernel_d * kernel_h * kernel_w;
                                const real *filter = weight + (c * taps + tap) * made;
                                real *to = y + place * filters + c / seen * made;
                                for (int o = 0; o < made; o++)
                                    to[o] += x[c] * filter[o];
                            }
                        }
            }
        }
    }
}
