/* A tile of a product of matrices, whose sums stay in registers: for each of `P` rows p

       y[y_at[p]][o] = start + sum over k, l, i of
                       a[p's place + k * a_row + l * a_column + i * a_next]
                       * b[k * b_row + l * b_column + i * b_next + o]

   with `high` columns o, at most `V` vectors. The place of p is a_at[p], or p itself where `a_at` is 0.
   The sums start as `bias` has them, or as y has them, or as 0. What `skip` has is added to them, whose
   places are those of y, and then they are kept within `limits`, if there are any. With `spill` numbers
   behind the columns of all rows but the last are written over. One that looks `AHEAD` fetches what the next
   tiles read. */
#define EACH_ROW(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#define ZERO(p) \
    Vector s##p = {0}, t##p = {0}; \
    const real *a##p = 0;
#define FIRST(p) \
    if (p < P) { \
        s##p = bias0; \
        t##p = bias1; \
    }
#define START(p) \
    if (p < P) { \
        const real *first = y + y_at[p]; \
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
#define JOIN(p) \
    if (p < P) { \
        const real *with = skip + y_at[p]; \
        s##p += whole ? READ(with) : some_lanes(with, high); \
        if (V == 2) \
            t##p += whole ? READ(with + LANES) : some_lanes(with + LANES, high - LANES); \
    }
#define LIMIT(p) \
    if (p < P) { \
        s##p = limited(s##p, limits); \
        if (V == 2) \
            t##p = limited(t##p, limits); \
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
static INLINE void tile(const int P, const int V, const int way, const Walk *walk,
                        const real *a, const int *a_at, const real *b, const real *bias, int start,
                        real *y, const real *skip, const int *y_at, int high, int spill,
                        const Limits *limits)
{
    const int a_next = way == ACROSS ? walk->a_next : 1, b_next = way == ACROSS ? walk->b_next : BLOCK;
    const int count = walk->count, whole = high >= V * LANES;
    EACH_ROW(ZERO)
    if (start == FROM_BIAS) {
        const Vector bias0 = whole ? READ(bias) : some_lanes(bias, high);
        const Vector bias1 = V < 2 ? bias0
                             : whole ? READ(bias + LANES) : some_lanes(bias + LANES, high - LANES);
        EACH_ROW(FIRST)
    } else if (start == FROM_Y) {
        EACH_ROW(START)
    }
    for (int k = 0; k < walk->rows; k++)
        for (int l = 0; l < walk->columns; l++) {
            const real *from = a + k * walk->a_row + l * walk->a_column;
            const real *with = b + k * walk->b_row + l * walk->b_column;
            EACH_ROW(PLACE)
            for (int i = 0; i < count; i++) {
                if (way == AHEAD)
                    FETCH(walk->ahead + i * walk->ahead_step);
                const Vector b0 = READ(with + i * b_next);
                const Vector b1 = V == 2 ? READ(with + i * b_next + LANES) : b0;
                EACH_ROW(ADD)
            }
        }
    if (skip) {
        EACH_ROW(JOIN)
    }
    if (limits) {
        EACH_ROW(LIMIT)
    }
    EACH_ROW(STORE)
}

#define CASE(P) \
    case P: \
        if (P <= MOST_ROWS(V)) \
            tile(P <= MOST_ROWS(V) ? P : 1, V, way, walk, a, a_at, b, bias, start, y, skip, y_at, \
                 high, spill, limits); \
        break;
static INLINE void tile_of(int rows, const int V, const int way, const Walk *walk,
                           const real *a, const int *a_at, const real *b, const real *bias, int start,
                           real *y, const real *skip, const int *y_at, int high, int spill,
                           const Limits *limits)
{
    switch (rows) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
    }
}
