/* Each place of a volume [depth][height][width][channels] gets the sum of the gradients of its copies. */
static void nearest_backward(const real *dy, real *dx,
                             int depth, int height, int width, int channels,
                             int times_d, int times_h, int times_w)
{
    for (int i = 0; i < depth * height * width * channels; i++)
        dx[i] = 0;
    for (int h = 0; h < depth * times_d; h++)
        for (int i = 0; i < height * times_h; i++)
            for (int j = 0; j < width * times_w; j++)
                for (int c = 0; c < channels; c++) {
                    const int row = h / times_d * height + i / times_h;
                    dx[(row * width + j / times_w) * channels + c] += *dy++;
                }
}
