/* Adds rows of few columns to y, as many as are whole vectors together, and returns how many they are. */
static int sum_of_narrow_rows(const real *x, real *y, int rows, int columns)
{
    enum { MOST = 16 };
    Vector sums[MOST] = {{0}};
    real each[MOST * LANES];
    const int many = columns <= MOST ? rows / LANES : 0;
    /* So many rows as a vector has numbers are as many vectors as there are columns. */
    for (int r = 0; r < many; r++, x += columns * LANES)
        for (int v = 0; v < columns; v++)
            sums[v] += READ(x + v * LANES);
    if (many)
        for (int v = 0; v < columns; v++)
            AT(each + v * LANES) = sums[v];
    for (int c = 0; many && c < columns; c++)
        for (int r = 0; r < LANES; r++)
            y[c] += each[r * columns + c];
    return many * LANES;
}

/* y[c] = sum over the rows of x[r][c], of up to 64 parts of the rows that are added in order. `sums` has
   64 numbers for each column. */
static void sum_of_many_rows(const real *x, real *y, real *sums, int rows, int columns)
{
    const int parts = parts_of(rows);
    SHARE(part, parts, 1, rows * columns > NUMBERS) {
        const int first = begin_of(part, parts, rows), last = begin_of(part + 1, parts, rows);
        real *to = sums + part * columns;
        for (int c = 0; c < columns; c++)
            to[c] = 0;
        for (int r = first + sum_of_narrow_rows(x + first * columns, to, last - first, columns);
             r < last; r++)
            APART
            for (int c = 0; c < columns; c++)
                to[c] += x[r * columns + c];
    }
    ONCE for (int c = 0; c < columns; c++) {
        y[c] = 0;
        for (int part = 0; part < parts; part++)
            y[c] += sums[part * columns + c];
    }
}
