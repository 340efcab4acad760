/* y [columns][rows] is x [rows][columns] with its axes exchanged. */
static void transpose(const real *x, real *y, int rows, int columns)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            y[c * rows + r] = x[r * columns + c];
}
