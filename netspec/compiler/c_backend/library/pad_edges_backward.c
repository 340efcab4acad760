/* Each place of the volume gets the sum of the gradients of the places that were filled from it. */
static void pad_edges_backward(const real *dy, real *dx,
                               int depth, int height, int width, int channels,
                               int y_depth, int y_height, int y_width, int front, int top, int left,
                               int mode)
{
    for (int i = 0; i < depth * height * width * channels; i++)
        dx[i] = 0;
    for (int h = 0; h < y_depth; h++)
        for (int i = 0; i < y_height; i++)
            for (int j = 0; j < y_width; j++)
                for (int c = 0; c < channels; c++) {
                    const int plane = edge_place(h - front, depth, mode);
                    const int row = plane * height + edge_place(i - top, height, mode);
                    dx[(row * width + edge_place(j - left, width, mode)) * channels + c] += *dy++;
                }
}
