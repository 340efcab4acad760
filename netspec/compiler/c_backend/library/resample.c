/* Along the middle axis of x [outer][size][inner], each of `outputs` places is the sum of `taps`
   places of x, at[output][tap], times their weights. */
static void resample(const real *x, const int *at, const real *weights, real *y,
                     int outer, int size, int inner, int outputs, int taps)
{
    for (int a = 0; a < outer; a++, x += size * inner)
        for (int o = 0; o < outputs; o++, y += inner) {
            for (int b = 0; b < inner; b++)
                y[b] = 0;
            for (int t = 0; t < taps; t++)
                for (int b = 0; b < inner; b++)
                    if (weights[o * taps + t] != 0)
                        y[b] += weights[o * taps + t] * x[at[o * taps + t] * inner + b];
        }
}
