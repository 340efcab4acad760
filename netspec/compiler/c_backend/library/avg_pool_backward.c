/* Each window of a volume gives an equal share of its gradient to the places that it holds; the sizes
   of windows are those of `avg_pool`. */
static void avg_pool_backward(const real *dy, real *dx,
                              int depth, int height, int width, int channels,
                              int y_depth, int y_height, int y_width,
                              int kernel_d, int kernel_h, int kernel_w,
                              int stride_d, int stride_h, int stride_w,
                              int front, int back, int top, int bottom, int left, int right,
                              int counts_padding, int divisor)
{
    const int pads = counts_padding ? 1 : 0;
    for (int i = 0; i < depth * height * width * channels; i++)
        dx[i] = 0;
    for (int h = 0; h < y_depth; h++)
        for (int i = 0; i < y_height; i++)
            for (int j = 0; j < y_width; j++, dy += channels) {
                const int ahead = h * stride_d - front, above = i * stride_h - top;
                const int before = j * stride_w - left;
                const int deep = window_length(ahead, kernel_d, -pads * front, depth + pads * back);
                const int high = window_length(above, kernel_h, -pads * top, height + pads * bottom);
                const int wide = window_length(before, kernel_w, -pads * left, width + pads * right);
                const real size = (real)(divisor ? divisor : deep * high * wide);
                const int d1 = end_tap(ahead, 1, kernel_d, depth);
                const int k1 = end_tap(above, 1, kernel_h, height);
                const int l1 = end_tap(before, 1, kernel_w, width);
                for (int d = first_tap(ahead, 1); d < d1; d++)
                    for (int k = first_tap(above, 1); k < k1; k++)
                        for (int l = first_tap(before, 1); l < l1; l++) {
                            const int row = (ahead + d) * height + above + k;
                            real *to = dx + (row * width + before + l) * channels;
                            for (int c = 0; c < channels; c++)
                                to[c] += dy[c] / size;
                        }
            }
}
