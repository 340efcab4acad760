/* y[c] = sum over the rows of x[r][c], of up to 64 parts of the rows that are added in order. `sums` has
   64 numbers for each column. */
static void sum_of_many_rows(const real *x, real *y, real *sums, int rows, int columns)
{
    const int parts = parts_of(rows);
    PARALLEL_IF(rows * columns > NUMBERS)
    for (int part = 0; part < parts; part++) {
        const int first = begin_of(part, parts, rows), last = begin_of(part + 1, parts, rows);
        real *to = sums + part * columns;
        for (int c = 0; c < columns; c++)
            to[c] = 0;
        for (int r = first; r < last; r++)
            APART
            for (int c = 0; c < columns; c++)
                to[c] += x[r * columns + c];
    }
    for (int c = 0; c < columns; c++) {
        y[c] = 0;
        for (int part = 0; part < parts; part++)
            y[c] += sums[part * columns + c];
    }
}
