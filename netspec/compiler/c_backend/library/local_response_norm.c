/* y[p][c] = x[p][c] / base^beta, base = k + alpha / size * sum of x[p][i]^2, where the sum is over the
   channels i from c - size / 2 to c + (size - 1) / 2. `bases` is where they go, or 0. */
static void local_response_norm(const real *x, real *y, real *bases,
                                int places, int channels, int size,
                                real alpha, real beta, real k)
{
    for (int p = 0; p < places; p++, x += channels, y += channels)
        for (int c = 0; c < channels; c++) {
            real sum = 0;
            for (int i = c - size / 2; i <= c + (size - 1) / 2; i++)
                if (i >= 0 && i < channels)
                    sum += x[i] * x[i];
            sum = k + alpha / (real)size * sum;
            y[c] = x[c] * real_pow(sum, -beta);
            if (bases)
                bases[p * channels + c] = sum;
        }
}
