void wide_tile_ahead(int rows, const Walk *walk,
                    const real *a, const int *a_at, const real *b, const real *bias, int start,
                    real *y, const real *skip, const int *y_at, int high, int spill,
                    const Limits *limits)
{
    tile_of(rows, 2, AHEAD, walk, a, a_at, b, bias, start, y, skip, y_at, high, spill, limits);
}

void narrow_tile_ahead(int rows, const Walk *walk,
                    const real *a, const int *a_at, const real *b, const real *bias, int start,
                    real *y, const real *skip, const int *y_at, int high, int spill,
                    const Limits *limits)
{
    tile_of(rows, 1, AHEAD, walk, a, a_at, b, bias, start, y, skip, y_at, high, spill, limits);
}
