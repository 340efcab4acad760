/* dweight[o][c][k][l] = sum over the images and places of dy[n][i][j][o] * x[n][...][c], where each
   tap k, l reads the place of x that it reads in `conv`. */
static void conv_backward_weight(const real *x, const real *dy, real *dweight,
                                 int images, int height, int width, int channels,
                                 int y_height, int y_width, int filters,
                                 int kernel_h, int kernel_w, int stride_h, int stride_w,
                                 int top, int left, int dilation_h, int dilation_w, int groups)
{
    const int seen = channels / groups, made = filters / groups, taps = kernel_h * kernel_w;
    for (int i = 0; i < filters * seen * taps; i++)
        dweight[i] = 0;
    for (int n = 0; n < images; n++, x += height * width * channels)
        for (int i = 0; i < y_height; i++)
            for (int j = 0; j < y_width; j++, dy += filters) {
                const int above = i * stride_h - top, before = j * stride_w - left;
                const int k1 = end_tap(above, dilation_h, kernel_h, height);
                const int l1 = end_tap(before, dilation_w, kernel_w, width);
                for (int k = first_tap(above, dilation_h); k < k1; k++)
                    for (int l = first_tap(before, dilation_w); l < l1; l++) {
                        const int row = above + k * dilation_h, column = before + l * dilation_w;
                        const real *from = x + (row * width + column) * channels;
                        for (int o = 0; o < filters; o++)
                            for (int c = 0; c < seen; c++)
                                dweight[((o * seen + c) * kernel_h + k) * kernel_w + l]
                                    += dy[o] * from[o / made * seen + c];
                    }
            }
}

/* dx[...][c] = sum of dy[i][j][o] * weight[o][c][k][l] over the places and taps that read it. */
static void conv_backward_input(const real *dy, const real *weight, real *dx,
                                int height, int width, int channels,
                                int y_height, int y_width, int filters,
                                int kernel_h, int kernel_w, int stride_h, int stride_w,
                                int top, int left, int dilation_h, int dilation_w, int groups)
{
    const int seen = channels / groups, made = filters / groups;
    for (int i = 0; i < height * width * channels; i++)
        dx[i] = 0;
    for (int i = 0; i < y_height; i++)
        for (int j = 0; j < y_width; j++, dy += filters) {
            const int above = i * stride_h - top, before = j * stride_w - left;
            const int k1 = end_tap(above, dilation_h, kernel_h, height);
            const int l1 = end_tap(before, dilation_w, kernel_w, width);
            for (int k = first_tap(above, dilation_h); k < k1; k++)
                for (int l = first_tap(before, dilation_w); l < l1; l++) {
                    const int row = above + k * dilation_h, column = before + l * dilation_w;
                    real *to = dx + (row * width + column) * channels;
                    for (int o = 0; o < filters; o++)
                        for (int c = 0; c < seen; c++)
                            to[o / made * seen + c]
                                += dy[o] * weight[((o * seen + c) * kernel_h + k) * kernel_w + l];
                }
        }
}
