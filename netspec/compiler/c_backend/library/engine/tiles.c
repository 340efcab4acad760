/* The first numbers of a vector; the others are 0. */
static INLINE Vector some_lanes(const real *from, int count)
{
    real all[LANES] = {0};
    for (int o = 0; o < LANES && o < count; o++)
        all[o] = from[o];
    return READ(all);
}

/* Writes the first numbers of a vector. */
static INLINE void put_lanes(Vector all, real *to, int count)
{
    real each[LANES];
    AT(each) = all;
    for (int o = 0; o < LANES && o < count; o++)
        to[o] = each[o];
}

/* A tile of a product of matrices, whose sums stay in registers: for each of `P` rows p

       y[y_at[p]][o] = start + sum over k, l, i of
                       a[p's place + k * a_row + l * a_column + i * a_next]
                       * b[k * b_row + l * b_column + i * b_next + o]

   with `high` columns o, at most `V` vectors. The place of p is a_at[p], or p itself where `a_at` is 0.
   The sums start as `bias` has them, or as y has them, or as 0. With `spill` numbers behind the columns
   of all rows but the last are written over. */
typedef struct {
    int rows, a_row, b_row, columns, a_column, b_column, count, a_next, b_next;
} Walk;
enum { FROM_ZERO, FROM_BIAS, FROM_Y };

#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#define ZERO(p) \
    Vector s##p = {0}, t##p = {0}; \
    const real *a##p = 0;
#define START(p) \
    if (p < P) { \
        const real *first = bias ? bias : y + y_at[p]; \
        s##p = whole ? READ(first) : some_lanes(first, high); \
        if (V == 2) \
            t##p = whole ? READ(first + LANES) : some_lanes(first + LANES, high - LANES); \
    }
#define PLACE(p) \
    if (p < P) \
        a##p = from + (a_at ? a_at[p] : p);
#define ADD(p) \
    if (p < P) { \
        s##p += a##p[i * a_next] * b0; \
        if (V == 2) \
            t##p += a##p[i * a_next] * b1; \
    }
#define STORE(p) \
    if (p < P) { \
        real *to = y + y_at[p]; \
        if (whole || (spill && p < P - 1)) { \
            AT(to) = s##p; \
            if (V == 2) \
                AT(to + LANES) = t##p; \
        } else { \
            put_lanes(s##p, to, high); \
            if (V == 2) \
                put_lanes(t##p, to + LANES, high - LANES); \
        } \
    }
static INLINE void tile(const int P, const int V, const int along, const Walk *walk,
                        const real *a, const int *a_at, const real *b, const real *bias, int start,
                        real *y, const int *y_at, int high, int spill)
{
    const int a_next = along ? 1 : walk->a_next, b_next = along ? BLOCK : walk->b_next;
    const int count = walk->count, whole = high >= V * LANES;
    EACH_ROW(ZERO)
    if (start != FROM_ZERO) {
        EACH_ROW(START)
    }
    for (int k = 0; k < walk->rows; k++)
        for (int l = 0; l < walk->columns; l++) {
            const real *from = a + k * walk->a_row + l * walk->a_column;
            const real *with = b + k * walk->b_row + l * walk->b_column;
            EACH_ROW(PLACE)
            for (int i = 0; i < count; i++) {
                const Vector b0 = READ(with + i * b_next);
                const Vector b1 = V == 2 ? READ(with + i * b_next + LANES) : b0;
                EACH_ROW(ADD)
            }
        }
    EACH_ROW(STORE)
}

#define MOST_ROWS(V) ((V) == 2 ? 6 : 8)
#define CASE(P) \
    case P: \
        if (P <= MOST_ROWS(V)) \
            tile(P <= MOST_ROWS(V) ? P : 1, V, along, walk, a, a_at, b, bias, start, y, y_at, high, \
                 spill); \
        break;
static INLINE void tile_of(int rows, const int V, const int along, const Walk *walk,
                           const real *a, const int *a_at, const real *b, const real *bias, int start,
                           real *y, const int *y_at, int high, int spill)
{
    switch (rows) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
    }
}

static void wide_tile_along(int rows, const Walk *walk,
                            const real *a, const int *a_at, const real *b, const real *bias, int start,
                            real *y, const int *y_at, int high, int spill)
{
    tile_of(rows, 2, 1, walk, a, a_at, b, bias, start, y, y_at, high, spill);
}

static void narrow_tile_along(int rows, const Walk *walk,
                              const real *a, const int *a_at, const real *b, const real *bias, int start,
                              real *y, const int *y_at, int high, int spill)
{
    tile_of(rows, 1, 1, walk, a, a_at, b, bias, start, y, y_at, high, spill);
}

static void wide_tile_across(int rows, const Walk *walk,
                             const real *a, const real *b, int start,
                             real *y, const int *y_at, int high)
{
    tile_of(rows, 2, 0, walk, a, 0, b, 0, start, y, y_at, high, 0);
}

static void narrow_tile_across(int rows, const Walk *walk,
                               const real *a, const real *b, int start,
                               real *y, const int *y_at, int high)
{
    tile_of(rows, 1, 0, walk, a, 0, b, 0, start, y, y_at, high, 0);
}

/* How many rows a tile has at most, for so many columns. */
static int tile_rows(int high)
{
    return MOST_ROWS(high > LANES ? 2 : 1);
}

/* A tile whose rows are anywhere in `a`, with numbers that follow each other, and a block of filters. */
static void tile_along(int rows, const Walk *walk, const real *a, const int *a_at,
                       const real *b, const real *bias, int start,
                       real *y, const int *y_at, int high, int spill)
{
    for (int o = 0; o < high; o += 2 * LANES) {
        const real *added = bias ? bias + o : 0;
        if (high - o > LANES)
            wide_tile_along(rows, walk, a, a_at, b + o, added, start, y + o, y_at, high - o, spill);
        else
            narrow_tile_along(rows, walk, a, a_at, b + o, added, start, y + o, y_at, high - o, spill);
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
