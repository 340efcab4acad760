/* Each place gets an equal share of the gradient of its channel's mean. */
static void global_avg_pool_backward(const real *dy, real *dx, int places, int channels)
{
    for (int p = 0; p < places; p++)
        for (int c = 0; c < channels; c++)
            dx[p * channels + c] = dy[c] / (real)places;
}
