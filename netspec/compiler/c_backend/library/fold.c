/* Each place of dx [height][width][channels] gets the sum of the gradients of the windows that read it. */
static void fold(const real *dy, real *dx,
                 int height, int width, int channels,
                 int y_height, int y_width, int kernel_h, int kernel_w, int stride_h, int stride_w,
                 int top, int left, int dilation_h, int dilation_w)
{
    for (int i = 0; i < height * width * channels; i++)
        dx[i] = 0;
    for (int c = 0; c < channels; c++)
        for (int k = 0; k < kernel_h; k++)
            for (int l = 0; l < kernel_w; l++)
                for (int i = 0; i < y_height; i++)
                    for (int j = 0; j < y_width; j++, dy++) {
                        const int row = i * stride_h + k * dilation_h - top;
                        const int column = j * stride_w + l * dilation_w - left;
                        if (row >= 0 && row < height && column >= 0 && column < width)
                            dx[(row * width + column) * channels + c] += *dy;
                    }
}
