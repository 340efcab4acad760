/* Convolution of a picture [height][width][channels]:
   y[i][j][o] = bias[o] + sum over k, l, c of
                x[i * stride_h + k * dilation_h - top][j * stride_w + l * dilation_w - left][c]
                * weight[o][k][l][c]
   The filters of a group see its channels alone. The weight is stored as [group][block of 8
   filters][k][l][channel of the group][filter in the block]. */
static void conv(const real *x, const real *weight, const real *bias, real *y,
                 int height, int width, int channels,
                 int y_height, int y_width, int filters,
                 int kernel_h, int kernel_w, int stride_h, int stride_w, int top, int left,
                 int dilation_h, int dilation_w, int groups)
{
    const int seen = channels / groups, made = filters / groups;
    const int x_row = dilation_h * width * channels, w_row = kernel_w * seen * 8;
    /* Taps that lie side by side in memory are one run. */
    const int joined = groups == 1 && dilation_w == 1;
    for (int g = 0; g < groups; g++) {
        for (int o = 0; o < made; o += 8, weight += kernel_h * w_row) {
            const real *added = bias ? bias + g * made + o : 0;
            for (int i = 0; i < y_height; i++) {
                const int above = i * stride_h - top;
                const int k0 = first_tap(above, dilation_h);
                const int k1 = end_tap(above, dilation_h, kernel_h, height);
                for (int j = 0, outputs; j < y_width; j += outputs) {
                    const int before = j * stride_w - left;
                    const int l0 = first_tap(before, dilation_w);
                    const int l1 = end_tap(before, dilation_w, kernel_w, width);
                    const int last = before + 3 * stride_w + (kernel_w - 1) * dilation_w;
                    const int from = (above * width + before) * channels + g * seen;
                    const int columns = joined ? (l1 > l0) : l1 - l0;
                    const int run = joined ? (l1 - l0) * seen : seen;
                    real sums[4 * 8];
                    outputs = j + 4 <= y_width && before >= 0 && last < width ? 4 : 1;
                    begin_block(added, made - o, outputs, sums);
                    for (int k = k0; k < k1; k++) {
                        for (int l = l0; l < l0 + columns; l++) {
                            const real *here = x + (from + k * x_row + l * dilation_w * channels);
                            const real *filter = weight + k * w_row + l * seen * 8;
                            if (outputs == 4)
                                add_products_4(here, stride_w * channels, filter, run, sums);
                            else
                                add_products_1(here, filter, run, sums);
                        }
                    }
                    end_block(sums, made - o, outputs,
                              y + (i * y_width + j) * filters + g * made + o, filters);
                }
            }
        }
    }
}
