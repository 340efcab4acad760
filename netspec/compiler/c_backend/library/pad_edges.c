/* The place of an axis that a place in its padding is filled from: 0 reflect, 1 replicate, 2
   circular. */
static int edge_place(int i, int size, int mode)
{
    if (i >= 0 && i < size)
        return i;
    if (mode == 0)
        return i < 0 ? -i : 2 * (size - 1) - i;
    if (mode == 1)
        return i < 0 ? 0 : size - 1;
    return i < 0 ? i + size : i - size;
}

/* A volume [depth][height][width][channels], a picture having depth 1, with padding that is filled
   from the volume. */
static void pad_edges(const real *x, real *y,
                      int depth, int height, int width, int channels,
                      int y_depth, int y_height, int y_width, int front, int top, int left, int mode)
{
    for (int h = 0; h < y_depth; h++)
        for (int i = 0; i < y_height; i++)
            for (int j = 0; j < y_width; j++)
                for (int c = 0; c < channels; c++) {
                    const int plane = edge_place(h - front, depth, mode);
                    const int row = plane * height + edge_place(i - top, height, mode);
                    const int at = row * width + edge_place(j - left, width, mode);
                    *y++ = x[at * channels + c];
                }
}
