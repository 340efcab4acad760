void wide_tile_beside(int rows, const Walk *walk,
                     const real *a, const real *b, const real *bias, int start,
                     real *y, const real *skip, const int *y_at, int high, int spill,
                     const Limits *limits)
{
    tile_of(rows, 2, ALONG, walk, a, 0, b, bias, start, y, skip, y_at, high, spill, limits);
}

void narrow_tile_beside(int rows, const Walk *walk,
                     const real *a, const real *b, const real *bias, int start,
                     real *y, const real *skip, const int *y_at, int high, int spill,
                     const Limits *limits)
{
    tile_of(rows, 1, ALONG, walk, a, 0, b, bias, start, y, skip, y_at, high, spill, limits);
}
