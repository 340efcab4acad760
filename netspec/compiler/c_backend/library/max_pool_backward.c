/* dx is, at the first place of each window that holds its largest number y, dy, and 0 elsewhere. */
static void max_pool_backward(const real *x, const real *y, const real *dy, real *dx,
                              int height, int width, int channels,
                              int y_height, int y_width, int kernel_h, int kernel_w,
                              int stride_h, int stride_w, int top, int left,
                              int dilation_h, int dilation_w)
{
    for (int i = 0; i < height * width * channels; i++)
        dx[i] = 0;
    for (int i = 0; i < y_height; i++)
        for (int j = 0; j < y_width; j++)
            for (int c = 0; c < channels; c++) {
                const int above = i * stride_h - top, before = j * stride_w - left;
                const int k1 = end_tap(above, dilation_h, kernel_h, height);
                const int l1 = end_tap(before, dilation_w, kernel_w, width);
                const int at = (i * y_width + j) * channels + c;
                int first = -1;
                for (int k = first_tap(above, dilation_h); k < k1 && first < 0; k++)
                    for (int l = first_tap(before, dilation_w); l < l1 && first < 0; l++) {
                        const int row = above + k * dilation_h, column = before + l * dilation_w;
                        const int here = (row * width + column) * channels + c;
                        if (x[here] >= y[at] || x[here] != x[here])
                            first = here;
                    }
                if (first >= 0)
                    dx[first] += dy[at];
            }
}
