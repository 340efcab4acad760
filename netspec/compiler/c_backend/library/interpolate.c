/* Along the middle axis of x [outer][size][inner], each of `outputs` places lies between two of x, and
   has a share of each. Places of y and x are `1 / scale` apart, or as the sizes say if that is 0; with
   `corners` the first and the last are the same in both. */
static void interpolate(const real *x, real *y, double scale,
                        int outer, int size, int inner, int outputs, int corners)
{
    const double ratio = scale > 0 ? 1 / scale : (double)size / outputs;
    const double step = outputs > 1 ? (double)(size - 1) / (outputs - 1) : 0;
    for (int a = 0; a < outer; a++, x += size * inner)
        for (int o = 0; o < outputs; o++, y += inner) {
            const double at = outputs == size ? o : corners ? o * step : (o + 0.5) * ratio - 0.5;
            const int low = at < 0 ? 0 : at < size - 1 ? (int)at : size - 1;
            const int high = low + 1 < size ? low + 1 : low;
            const real share = at > low ? (real)(at - low) : 0;
            for (int b = 0; b < inner; b++)
                y[b] = (1 - share) * x[low * inner + b] + share * x[high * inner + b];
        }
}
