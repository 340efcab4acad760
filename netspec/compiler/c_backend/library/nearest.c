/* Each place of a volume [depth][height][width][channels] repeated along its axes; a picture has
   depth 1. */
static void nearest(const real *x, real *y,
                    int depth, int height, int width, int channels,
                    int times_d, int times_h, int times_w)
{
    for (int h = 0; h < depth * times_d; h++)
        for (int i = 0; i < height * times_h; i++)
            for (int j = 0; j < width * times_w; j++)
                for (int c = 0; c < channels; c++) {
                    const int row = h / times_d * height + i / times_h;
                    *y++ = x[(row * width + j / times_w) * channels + c];
                }
}
