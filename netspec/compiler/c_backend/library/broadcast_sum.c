/* The gradient of numbers that were broadcast over [rows][size][after]: the sum of x * dy over all
   places of each, or of dy alone if there is no x. */
static void broadcast_sum(const real *x, const real *dy, real *y, int rows, int size, int after)
{
    for (int c = 0; c < size; c++)
        y[c] = 0;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < size; c++)
            for (int a = 0; a < after; a++) {
                const int at = (r * size + c) * after + a;
                y[c] += x ? x[at] * dy[at] : dy[at];
            }
}
