/* y[c] = sum over the rows of x[r][c] */
static void sum_of_rows(const real *x, real *y, int rows, int columns)
{
    for (int c = 0; c < columns; c++)
        y[c] = 0;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            y[c] += x[r * columns + c];
}
