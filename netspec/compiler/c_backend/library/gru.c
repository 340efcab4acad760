/* Gated recurrent unit: with a = weight h[t - 1] + bias, r, z = sigmoid(pre[t] + a),
   n = tanh(pre[t] + r a): y[t] = h[t] = n + z (h[t - 1] - n). pre is [steps][3 * size] in the order
   r, z, n, weight [3 * size][size]; `added` holds 3 * size numbers in between. If `before` is not 0, it
   gets the state that enters each step, `gates` [steps][3 * size] r, z and n, and `inner` what r
   multiplies. */
static void gru(const real *pre, const real *weight, const real *bias, const real *h0, real *y,
                real *gates, real *before, real *inner, real *added,
                int steps, int size, int reverse)
{
    const real *h = h0;
    for (int m = 0; m < steps; m++) {
        const int t = reverse ? steps - 1 - m : m, at = t * size;
        const real *given = pre + 3 * at;
        for (int i = 0; i < 3 * size; i++) {
            added[i] = bias ? bias[i] : 0;
            for (int j = 0; j < size && h; j++)
                added[i] += weight[i * size + j] * h[j];
        }
        for (int i = 0; i < size; i++) {
            const real r = logistic(given[i] + added[i]);
            const real z = logistic(given[size + i] + added[size + i]);
            const real n = real_tanh(given[2 * size + i] + r * added[2 * size + i]);
            const real last = h ? h[i] : 0;
            if (before) {
                before[at + i] = last;
                inner[at + i] = added[2 * size + i];
                gates[3 * at + i] = r;
                gates[3 * at + size + i] = z;
                gates[3 * at + 2 * size + i] = n;
            }
            y[at + i] = n + z * (last - n);
        }
        h = y + at;
    }
}
