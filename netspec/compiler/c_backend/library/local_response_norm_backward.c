/* dx = dy / base^beta - 2 alpha beta / size * x * sum of dy y / base over the windows that hold x, which
   are those of the channels from c - (size - 1) / 2 to c + size / 2. */
static void local_response_norm_backward(const real *x, const real *y, const real *bases,
                                         const real *dy, real *dx,
                                         int places, int channels, int size,
                                         real alpha, real beta)
{
    for (int p = 0; p < places; p++)
        for (int c = 0; c < channels; c++) {
            const int row = p * channels;
            real sum = 0;
            for (int i = c - (size - 1) / 2; i <= c + size / 2; i++)
                if (i >= 0 && i < channels)
                    sum += dy[row + i] * y[row + i] / bases[row + i];
            dx[row + c] = dy[row + c] * real_pow(bases[row + c], -beta)
                - 2 * alpha * beta / (real)size * x[row + c] * sum;
        }
}
