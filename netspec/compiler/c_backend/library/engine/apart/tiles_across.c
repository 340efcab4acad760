void wide_tile_across(int rows, const Walk *walk,
                      const real *a, const real *b, int start,
                      real *y, const int *y_at, int high)
{
    tile_of(rows, 2, ACROSS, walk, a, 0, b, 0, start, y, 0, y_at, high, 0, 0);
}

void narrow_tile_across(int rows, const Walk *walk,
                        const real *a, const real *b, int start,
                        real *y, const int *y_at, int high)
{
    tile_of(rows, 1, ACROSS, walk, a, 0, b, 0, start, y, 0, y_at, high, 0, 0);
}
