#if defined(__GNUC__) && defined(__AVX__)
/* Eight numbers that one or two instructions work on: an extension of GCC and Clang. */
typedef real lanes __attribute__((vector_size(8 * sizeof(real)), aligned(sizeof(real)), __may_alias__));

static void add_products_4(const real *x, int step, const real *filters, int count, real *sums)
{
    lanes *sum = (lanes *)sums;
    lanes a = sum[0], b = sum[1], c = sum[2], d = sum[3];
    for (int i = 0; i < count; i++) {
        lanes filter = ((const lanes *)filters)[i];
        a += x[i] * filter;
        b += x[step + i] * filter;
        c += x[2 * step + i] * filter;
        d += x[3 * step + i] * filter;
    }
    sum[0] = a;
    sum[1] = b;
    sum[2] = c;
    sum[3] = d;
}

static void add_products_1(const real *x, const real *filters, int count, real *sums)
{
    lanes a = *(const lanes *)sums;
    for (int i = 0; i < count; i++)
        a += x[i] * ((const lanes *)filters)[i];
    *(lanes *)sums = a;
}
#else
