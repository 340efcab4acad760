/* The mean of each channel over all places of x [places][channels]. */
static void global_avg_pool(const real *x, real *y, int places, int channels)
{
    for (int c = 0; c < channels; c++)
        y[c] = 0;
    for (int p = 0; p < places; p++)
        for (int c = 0; c < channels; c++)
            y[c] += x[p * channels + c];
    for (int c = 0; c < channels; c++)
        y[c] /= (real)places;
}
