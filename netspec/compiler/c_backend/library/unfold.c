/* y[(c, k, l)][window] is what each window of a picture [height][width][channels] reads. */
static void unfold(const real *x, real *y,
                   int height, int width, int channels,
                   int y_height, int y_width, int kernel_h, int kernel_w, int stride_h, int stride_w,
                   int top, int left, int dilation_h, int dilation_w)
{
    for (int c = 0; c < channels; c++)
        for (int k = 0; k < kernel_h; k++)
            for (int l = 0; l < kernel_w; l++)
                for (int i = 0; i < y_height; i++)
                    for (int j = 0; j < y_width; j++) {
                        const int row = i * stride_h + k * dilation_h - top;
                        const int column = j * stride_w + l * dilation_w - left;
                        const int inside = row >= 0 && row < height && column >= 0 && column < width;
                        *y++ = inside ? x[(row * width + column) * channels + c] : 0;
                    }
}
