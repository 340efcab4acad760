/* Adds to the sums of four neighbouring outputs, for eight filters each, the products of what they
   see with the filters. `x` belongs to the first output, x + step to the second, and so on. The
   filters are stored in blocks of eight, so that the innermost loop is one instruction or two. */
static void add_products_4(const real *x, int step, const real *filters, int count, real *sums)
{
    for (int half = 0; half < 8; half += 4) {
        real a[4], b[4], c[4], d[4];
        for (int o = 0; o < 4; o++) {
            a[o] = sums[half + o];
            b[o] = sums[8 + half + o];
            c[o] = sums[16 + half + o];
            d[o] = sums[24 + half + o];
        }
        for (int i = 0; i < count; i++) {
            const real *filter = filters + 8 * i + half;
            for (int o = 0; o < 4; o++) {
                a[o] += x[i] * filter[o];
                b[o] += x[step + i] * filter[o];
                c[o] += x[2 * step + i] * filter[o];
                d[o] += x[3 * step + i] * filter[o];
            }
        }
        for (int o = 0; o < 4; o++) {
            sums[half + o] = a[o];
            sums[8 + half + o] = b[o];
            sums[16 + half + o] = c[o];
            sums[24 + half + o] = d[o];
        }
    }
}

/* The same for one output. */
static void add_products_1(const real *x, const real *filters, int count, real *sums)
{
    real a[4], b[4];
    for (int o = 0; o < 4; o++) {
        a[o] = sums[o];
        b[o] = sums[4 + o];
    }
    for (int i = 0; i < count; i++) {
        const real *filter = filters + 8 * i;
        for (int o = 0; o < 4; o++) {
            a[o] += x[i] * filter[o];
            b[o] += x[i] * filter[4 + o];
        }
    }
    for (int o = 0; o < 4; o++) {
        sums[o] = a[o];
        sums[4 + o] = b[o];
    }
}
