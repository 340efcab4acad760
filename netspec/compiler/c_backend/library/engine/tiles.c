/* How many rows a tile has at most, for so many columns. */
static int tile_rows(int high)
{
    return MOST_ROWS(high > LANES ? 2 : 1);
}

/* A tile whose rows are anywhere in `a`, with numbers that follow each other, and a block of filters. */
static void tile_along(int rows, const Walk *walk, const real *a, const int *a_at,
                       const real *b, const real *bias, int start,
                       real *y, const real *skip, const int *y_at, int high, int spill,
                       const Limits *limits)
{
    for (int o = 0; o < high; o += 2 * LANES) {
        const real *added = bias ? bias + o : 0, *with = skip ? skip + o : 0;
        if (high - o > LANES)
            wide_tile_along(rows, walk, a, a_at, b + o, added, start, y + o, with, y_at,
                            high - o, spill, limits);
        else
            narrow_tile_along(rows, walk, a, a_at, b + o, added, start, y + o, with, y_at,
                            high - o, spill, limits);
    }
}

/* The same, and what is read next is fetched. */
static void tile_ahead(int rows, const Walk *walk, const real *a, const int *a_at,
                       const real *b, const real *bias, int start,
                       real *y, const real *skip, const int *y_at, int high, int spill,
                       const Limits *limits)
{
    for (int o = 0; o < high; o += 2 * LANES) {
        const real *added = bias ? bias + o : 0, *with = skip ? skip + o : 0;
        if (high - o > LANES)
            wide_tile_ahead(rows, walk, a, a_at, b + o, added, start, y + o, with, y_at,
                            high - o, spill, limits);
        else
            narrow_tile_ahead(rows, walk, a, a_at, b + o, added, start, y + o, with, y_at,
                            high - o, spill, limits);
    }
}

/* A tile whose rows follow each other in `a`. */
static void tile_across(int rows, const Walk *walk, const real *a, const real *b, int start,
                        real *y, const int *y_at, int high)
{
    for (int o = 0; o < high; o += 2 * LANES) {
        if (high - o > LANES)
            wide_tile_across(rows, walk, a, b + o, start, y + o, y_at, high - o);
        else
            narrow_tile_across(rows, walk, a, b + o, start, y + o, y_at, high - o);
    }
}

/* A tile whose rows follow each other in `a`, with numbers that do so too, and a block of filters. */
static void tile_beside(int rows, const Walk *walk, const real *a, const real *b, const real *bias, int start,
                        real *y, const real *skip, const int *y_at, int high, int spill,
                        const Limits *limits)
{
    for (int o = 0; o < high; o += 2 * LANES) {
        const real *added = bias ? bias + o : 0, *with = skip ? skip + o : 0;
        if (high - o > LANES)
            wide_tile_beside(rows, walk, a, b + o, added, start, y + o, with, y_at,
                            high - o, spill, limits);
        else
            narrow_tile_beside(rows, walk, a, b + o, added, start, y + o, with, y_at,
                            high - o, spill, limits);
    }
}
