/* From the last step to the first, with dh = dy[t] + dpre[t + 1] weight and
   dc = dh o (1 - tanh(c)^2) + dc[t + 1] f[t + 1]: di = dc g i (1 - i), df = dc c[t - 1] f (1 - f),
   dg = dc i (1 - g^2), do = dh tanh(c) o (1 - o). What is left of dh and dc are the gradients of the
   states to begin with. */
static void lstm_backward(const real *dy, const real *weight, const real *gates, const real *cells,
                          const real *squashed, real *dpre, real *dh, real *dc,
                          int steps, int size, int reverse)
{
    for (int i = 0; i < size; i++)
        dh[i] = dc[i] = 0;
    for (int n = 0; n < steps; n++) {
        const int at = (reverse ? n : steps - 1 - n) * size;
        const real *gate = gates + 4 * at;
        real *d = dpre + 4 * at;
        for (int i = 0; i < size; i++) {
            const real in = gate[i], forget = gate[size + i], g = gate[2 * size + i];
            const real out = gate[3 * size + i], small = squashed[at + i];
            const real slope = dh[i] + dy[at + i];
            dc[i] += slope * out * (1 - small * small);
            d[i] = dc[i] * g * in * (1 - in);
            d[size + i] = dc[i] * cells[at + i] * forget * (1 - forget);
            d[2 * size + i] = dc[i] * in * (1 - g * g);
            d[3 * size + i] = slope * small * out * (1 - out);
            dc[i] *= forget;
        }
        step_back(d, weight, dh, 4 * size, size);
    }
}
