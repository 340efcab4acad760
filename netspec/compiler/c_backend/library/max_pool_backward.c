/* dx is, at the first place of each window that holds its largest number y, dy, and 0 elsewhere. The
   volume is [depth][height][width][channels]; a picture has depth 1. */
static void max_pool_backward(const real *x, const real *y, const real *dy, real *dx,
                              int depth, int height, int width, int channels,
                              int y_depth, int y_height, int y_width,
                              int kernel_d, int kernel_h, int kernel_w,
                              int stride_d, int stride_h, int stride_w, int front, int top, int left,
                              int dilation_d, int dilation_h, int dilation_w)
{
    const int plane = kernel_h * kernel_w;
    for (int i = 0; i < depth * height * width * channels; i++)
        dx[i] = 0;
    for (int p = 0; p < y_depth * y_height * y_width; p++)
        for (int c = 0; c < channels; c++) {
            const int at = p * channels + c;
            const int ahead = p / (y_height * y_width) * stride_d - front;
            const int above = p / y_width % y_height * stride_h - top;
            const int before = p % y_width * stride_w - left;
            int first = -1;
            for (int tap = 0; tap < kernel_d * plane && first < 0; tap++) {
                const int deep = ahead + tap / plane * dilation_d;
                const int row = above + tap % plane / kernel_w * dilation_h;
                const int column = before + tap % kernel_w * dilation_w;
                const int here = ((deep * height + row) * width + column) * channels + c;
                if (deep < 0 || deep >= depth || row < 0 || row >= height || column < 0
                    || column >= width)
                    continue;
                if (x[here] >= y[at] || x[here] != x[here])
                    first = here;
            }
            if (first >= 0)
                dx[first] += dy[at];
        }
}
