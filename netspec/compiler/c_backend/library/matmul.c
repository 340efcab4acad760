/* Products of matrices: y[n] = a[n] b[n], with a [count][rows][inner], b [count][inner][columns]. */
static void matmul(const real *a, const real *b, real *y,
                   int count, int rows, int inner, int columns)
{
    for (int n = 0; n < count; n++, b += inner * columns)
        for (int r = 0; r < rows; r++, a += inner, y += columns) {
            for (int c = 0; c < columns; c++)
                y[c] = 0;
            for (int i = 0; i < inner; i++)
                for (int c = 0; c < columns; c++)
                    y[c] += a[i] * b[i * columns + c];
        }
}
