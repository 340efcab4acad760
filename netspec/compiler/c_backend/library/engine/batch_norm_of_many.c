/* Into how many parts sums over rows are divided: as many for any number of threads, so that the sums
   have the same bits. */
static int parts_of(int rows)
{
    const int parts = rows / 256;
    return parts < 1 ? 1 : parts > 64 ? 64 : parts;
}

/* Where a part begins. */
static int begin_of(int part, int parts, int rows)
{
    return (int)((long long)rows * part / parts);
}

/* The mean of `rows` rows of up to one vector of channels, and the sum of squares of what differs from
   it: of 256 rows at a time, which stay in a cache between two passes. */
static void mean_and_squares(const real *x, real *mean, real *squares, int rows, int channels, int high)
{
    Vector of_all = {0}, differing = {0};
    for (int r0 = 0; r0 < rows; r0 += 256) {
        const int many = rows - r0 < 256 ? rows - r0 : 256;
        const real *from = x + r0 * channels;
        Vector a = {0}, b = {0}, c = {0}, d = {0};
        int r = 0;
        if (high >= LANES)
            for (; r + 4 <= many; r += 4) {
                a += READ(from + r * channels);
                b += READ(from + (r + 1) * channels);
                c += READ(from + (r + 2) * channels);
                d += READ(from + (r + 3) * channels);
            }
        for (; r < many; r++)
            a += high >= LANES ? READ(from + r * channels) : some_lanes(from + r * channels, high);
        const Vector here = (a + b + (c + d)) / (real)many, apart = here - of_all;
        a = b = c = d = (Vector){0};
        r = 0;
        if (high >= LANES)
            for (; r + 4 <= many; r += 4) {
                const Vector e = READ(from + r * channels) - here;
                const Vector f = READ(from + (r + 1) * channels) - here;
                const Vector g = READ(from + (r + 2) * channels) - here;
                const Vector h = READ(from + (r + 3) * channels) - here;
                a += e * e;
                b += f * f;
                c += g * g;
                d += h * h;
            }
        for (; r < many; r++) {
            const Vector e = (high >= LANES ? READ(from + r * channels)
                                            : some_lanes(from + r * channels, high)) - here;
            a += e * e;
        }
        const real share = (real)many / (real)(r0 + many);
        of_all += apart * share;
        differing += a + b + (c + d) + apart * apart * ((real)r0 * share);
    }
    put_lanes(of_all, mean, high);
    put_lanes(differing, squares, high);
}

/* What `batch_statistics` computes. `parts` has room for two numbers of each channel in 64 parts of the
   rows. */
static void statistics_of_many(const real *x, const real *weight, const real *bias,
                               real *running_mean, real *running_var,
                               real *mean, real *inverse_std, real *scale, real *shift, real *parts,
                               int rows, int channels, real eps, real momentum)
{
    const int count = parts_of(rows);
    SHARE(part, count, 1, rows * channels > NUMBERS) {
        const int first = begin_of(part, count, rows), many = begin_of(part + 1, count, rows) - first;
        real *to = parts + 2 * part * channels;
        for (int c = 0; c < channels; c += LANES)
            mean_and_squares(x + first * channels + c, to + c, to + channels + c, many, channels,
                             channels - c);
    }
    ONCE for (int c = 0; c < channels; c++) {
        real middle = 0, squares = 0;
        for (int part = 0; part < count; part++) {
            const int first = begin_of(part, count, rows), end = begin_of(part + 1, count, rows);
            const real *from = parts + 2 * part * channels + c;
            const real apart = from[0] - middle, share = (real)(end - first) / (real)end;
            middle += apart * share;
            squares += from[channels] + apart * apart * ((real)first * share);
        }
        mean[c] = middle;
        use_squares(c, squares, weight, bias, running_mean, running_var,
                    mean, inverse_std, scale, shift, rows, eps, momentum);
    }
}

/* The sums over rows of dy and of dy * (x - mean), for up to one vector of channels. */
static void slope_sums(const real *x, const real *dy, const real *mean, real *sum, real *with_x,
                       int rows, int channels, int high)
{
    Vector a = {0}, b = {0}, c = {0}, d = {0};
    int r = 0;
    if (high >= LANES) {
        const Vector middle = READ(mean);
        for (; r + 2 <= rows; r += 2) {
            const Vector one = READ(dy + r * channels), two = READ(dy + (r + 1) * channels);
            a += one;
            b += two;
            c += one * (READ(x + r * channels) - middle);
            d += two * (READ(x + (r + 1) * channels) - middle);
        }
        for (; r < rows; r++) {
            const Vector one = READ(dy + r * channels);
            a += one;
            c += one * (READ(x + r * channels) - middle);
        }
    } else {
        const Vector middle = some_lanes(mean, high);
        for (; r < rows; r++) {
            const Vector one = some_lanes(dy + r * channels, high);
            a += one;
            c += one * (some_lanes(x + r * channels, high) - middle);
        }
    }
    put_lanes(a + b, sum, high);
    put_lanes(c + d, with_x, high);
}

/* The sums for all rows and channels: sums[c], and behind them those with x; the parts lie behind. */
static void slope_sums_of_many(const real *x, const real *dy, const real *mean, real *sums,
                               int rows, int channels)
{
    const int count = parts_of(rows);
    SHARE(part, count, 1, rows * channels > NUMBERS) {
        const int first = begin_of(part, count, rows), many = begin_of(part + 1, count, rows) - first;
        real *to = sums + 2 * (part + 1) * channels;
        for (int c = 0; c < channels; c += LANES)
            slope_sums(x + first * channels + c, dy + first * channels + c, mean + c, to + c,
                       to + channels + c, many, channels, channels - c);
    }
    ONCE {
        for (int c = 0; c < 2 * channels; c++)
            sums[c] = 0;
        for (int part = 1; part <= count; part++)
            for (int c = 0; c < 2 * channels; c++)
                sums[c] += sums[2 * part * channels + c];
    }
}

/* What `batch_norm_backward` computes. `sums` has room for two numbers of each channel in 65 parts. */
static void batch_norm_backward_of_many(const real *x, const real *dy, const real *weight,
                                        const real *mean, const real *inverse_std,
                                        real *dweight, real *dbias,
                                        real *dy_scale, real *x_scale, real *dx_shift, real *sums,
                                        int rows, int channels)
{
    slope_sums_of_many(x, dy, mean, sums, rows, channels);
    ONCE for (int c = 0; c < channels; c++)
        use_slope_sums(c, sums[c], sums[channels + c], weight, inverse_std, dweight, dbias,
                       dy_scale, x_scale, dx_shift, rows);
}
