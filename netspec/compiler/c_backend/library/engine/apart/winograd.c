/* Six numbers of a row or column of x, for each lane, as Winograd's algorithm multiplies them. */
static INLINE void six_of(Vector a, Vector b, Vector c, Vector d, Vector e, Vector f, real *to, int step)
{
    const Vector even = e - c * (real)4, odd = d - b * (real)4, far = e - c, near = (d - b) * (real)2;
    AT(to) = a * (real)4 - c * (real)5 + e;
    AT(to + step) = even + odd;
    AT(to + 2 * step) = even - odd;
    AT(to + 3 * step) = far + near;
    AT(to + 4 * step) = far - near;
    AT(to + 5 * step) = b * (real)4 - d * (real)5 + f;
}

/* Four numbers of y from six sums. */
static INLINE void four_of(Vector a, Vector b, Vector c, Vector d, Vector e, Vector f, Vector *to)
{
    const Vector near = b + c, odd = b - c, far = d + e, apart = d - e;
    to[0] = a + near + far;
    to[1] = odd + apart * (real)2;
    to[2] = near + far * (real)4;
    to[3] = odd + apart * (real)8 + f;
}

/* Up to one vector of channels of a tile of v. */
static INLINE void lanes_from(const int whole, const real *const *rows, int step, int first, int end,
                              int high, int c, real *v, int place)
{
    const int lanes = whole ? LANES : high;
    const real *r0 = rows[0] + c, *r1 = rows[1] + c, *r2 = rows[2] + c;
    const real *r3 = rows[3] + c, *r4 = rows[4] + c, *r5 = rows[5] + c;
    real half[36 * LANES];
    ROLLED
    for (int q = 0; q < 6; q++) {
        const int at = q * step;
        real *to = half + q * LANES;
        if (q >= first && q < end)
            six_of(lanes_of(r0 + at, lanes), lanes_of(r1 + at, lanes), lanes_of(r2 + at, lanes),
                   lanes_of(r3 + at, lanes), lanes_of(r4 + at, lanes), lanes_of(r5 + at, lanes),
                   to, 6 * LANES);
        else
            for (int r = 0; r < 6; r++)
                AT(to + r * 6 * LANES) = (Vector){0};
    }
    ROLLED
    for (int r = 0; r < 6; r++) {
        const real *from = half + r * 6 * LANES;
        six_of(READ(from), READ(from + LANES), READ(from + 2 * LANES), READ(from + 3 * LANES),
               READ(from + 4 * LANES), READ(from + 5 * LANES), v + c + r * 6 * place, place);
    }
}

void winograd_from(const real *const *rows, int step, int first, int end, int channels, real *v, int place)
{
    int c = 0;
    for (; c + LANES <= channels; c += LANES)
        lanes_from(1, rows, step, first, end, LANES, c, v, place);
    if (c < channels)
        lanes_from(0, rows, step, first, end, channels - c, c, v, place);
}

void winograd_products(const real *v, const real *u, real *m, int tiles, int channels,
                       int v_row, int v_place, int m_place)
{
    enum { V = 2 * LANES <= BLOCK ? 2 : 1, MOST = MOST_ROWS(V) };
    const Walk walk = {1, 0, 0, 1, 0, 0, channels, 1, BLOCK};
    int v_at[8], m_at[8];
    for (int p = 0; p < 8; p++) {
        v_at[p] = p * v_row;
        m_at[p] = p * BLOCK;
    }
    for (int place = 0; place < 36; place++, v += v_place, u += channels * BLOCK, m += m_place)
        for (int o = 0; o < BLOCK; o += V * LANES) {
            int t = 0;
            for (; t + MOST <= tiles; t += MOST)
                tile(MOST, V, ALONG, &walk, v + t * v_row, v_at, u + o, 0, FROM_ZERO,
                     m + t * BLOCK + o, 0, m_at, V * LANES, 0, 0);
            tile_of(tiles - t, V, ALONG, &walk, v + t * v_row, v_at, u + o, 0, FROM_ZERO,
                    m + t * BLOCK + o, 0, m_at, V * LANES, 0, 0);
        }
}

/* The outputs of up to one vector of filters of a tile, and their sum. A `whole` tile has no end in it. */
static INLINE Vector lanes_to(const int whole, const real *m, int place, Vector added, const real *skip, real *y,
                              int y_row, int y_step, int tall, int wide, int high, const Limits *limits)
{
    const int rows = whole ? 4 : tall, columns = whole ? 4 : wide, lanes = whole ? LANES : high;
    Vector all = {0};
    real half[24 * LANES];
    ROLLED
    for (int q = 0; q < 6; q++, m += place) {
        Vector four[4];
        four_of(READ(m), READ(m + 6 * place), READ(m + 12 * place), READ(m + 18 * place),
                READ(m + 24 * place), READ(m + 30 * place), four);
        for (int r = 0; r < 4; r++)
            AT(half + (r * 6 + q) * LANES) = four[r];
    }
    ROLLED
    for (int r = 0; r < rows; r++, y += y_row, skip = skip ? skip + y_row : 0) {
        const real *from = half + r * 6 * LANES;
        Vector four[4];
        four_of(READ(from), READ(from + LANES), READ(from + 2 * LANES), READ(from + 3 * LANES),
                READ(from + 4 * LANES), READ(from + 5 * LANES), four);
        for (int q = 0; q < 4; q++)
            four[q] += added;
        all += four[0] + four[1] + (four[2] + four[3]);
        if (skip)
            for (int q = 0; q < 4; q++)
                if (q < columns)
                    four[q] += lanes_of(skip + q * y_step, lanes);
        if (limits)
            for (int q = 0; q < 4; q++)
                four[q] = limited(four[q], limits);
        for (int q = 0; q < 4; q++)
            if (q < columns)
                write_lanes(four[q], y + q * y_step, lanes);
    }
    return all;
}

int winograd_to(const real *m, int place, const real *bias, const real *skip, real *y,
                int y_row, int y_step, int tall, int wide, int high, const Limits *limits)
{
    Vector all = {0};
    real each[LANES], sum = 0;
    for (int o = 0; o < high; o += LANES) {
        const int few = high - o;
        const Vector added = bias ? lanes_of(bias + o, few) : (Vector){0};
        const real *with = skip ? skip + o : 0;
        if (tall == 4 && wide == 4 && few >= LANES)
            all += lanes_to(1, m + o, place, added, with, y + o, y_row, y_step, 4, 4, LANES, limits);
        else
            all += lanes_to(0, m + o, place, added, with, y + o, y_row, y_step, tall, wide, few, limits);
    }
    AT(each) = all;
    for (int o = 0; o < LANES; o++)
        sum += each[o];
    return sum - sum == 0;
}

/* The six sums that four gradients are part of: the transpose of `four_of`. */
static INLINE void sums_of_four(Vector a, Vector b, Vector c, Vector d, real *to, int step)
{
    const Vector even = a + c, odd = b + d, far = a + c * (real)4, apart = (b + d * (real)4) * (real)2;
    AT(to) = a;
    AT(to + step) = even + odd;
    AT(to + 2 * step) = even - odd;
    AT(to + 3 * step) = far + apart;
    AT(to + 4 * step) = far - apart;
    AT(to + 5 * step) = d;
}

void winograd_slopes(const real *dy, int y_row, int y_step, int tall, int wide, int filters,
                     real *m, int place)
{
    for (int o = 0; o < filters; o += LANES) {
        const int high = filters - o;
        real half[24 * LANES];
        ROLLED
        for (int q = 0; q < 4; q++) {
            Vector seen[4] = {{0}};
            for (int r = 0; r < 4; r++)
                if (q < wide && r < tall)
                    seen[r] = lanes_of(dy + r * y_row + q * y_step + o, high);
            sums_of_four(seen[0], seen[1], seen[2], seen[3], half + q * LANES, 4 * LANES);
        }
        ROLLED
        for (int r = 0; r < 6; r++) {
            const real *from = half + r * 4 * LANES;
            sums_of_four(READ(from), READ(from + LANES), READ(from + 2 * LANES), READ(from + 3 * LANES),
                         m + o + r * 6 * place, place);
        }
    }
}
