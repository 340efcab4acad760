/* Convolution of a volume [depth][height][width][channels], with weight[o][d][k][l][c]. */
static void conv_volume(const real *x, const real *weight, const real *bias, real *y,
                        int depth, int height, int width, int channels,
                        int y_depth, int y_height, int y_width, int filters,
                        int kernel_d, int kernel_h, int kernel_w,
                        int stride_d, int stride_h, int stride_w, int front, int top, int left,
                        int dilation_d, int dilation_h, int dilation_w, int groups)
{
    const int seen = channels / groups, made = filters / groups;
    for (int h = 0; h < y_depth; h++) {
        const int ahead = h * stride_d - front;
        const int d1 = end_tap(ahead, dilation_d, kernel_d, depth);
        for (int i = 0; i < y_height; i++) {
            const int above = i * stride_h - top;
            const int k1 = end_tap(above, dilation_h, kernel_h, height);
            for (int j = 0; j < y_width; j++, y += filters) {
                const int before = j * stride_w - left;
                const int l1 = end_tap(before, dilation_w, kernel_w, width);
                for (int o = 0; o < filters; o++) {
                    real sum = bias ? bias[o] : 0;
                    for (int d = first_tap(ahead, dilation_d); d < d1; d++)
                        for (int k = first_tap(above, dilation_h); k < k1; k++)
                            for (int l = first_tap(before, dilation_w); l < l1; l++) {
                                const int plane = ahead + d * dilation_d;
                                const int row = plane * height + above + k * dilation_h;
                                const int place = row * width + before + l * dilation_w;
                                const real *from = x + place * channels + o / made * seen;
                                const int tap = ((o * kernel_d + d) * kernel_h + k) * kernel_w + l;
                                for (int c = 0; c < seen; c++)
                                    sum += from[c] * weight[tap * seen + c];
                            }
                    y[o] = sum;
                }
            }
        }
    }
}
