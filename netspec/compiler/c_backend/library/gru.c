/* Gated recurrent unit: with a = weight h[t - 1] + bias, r, z = sigmoid(pre[t] + a),
   n = tanh(pre[t] + r a): y[t] = h[t] = n + z (h[t - 1] - n). pre is [steps][3 * size] in the order
   r, z, n, weight [3 * size][size]; `added` holds 3 * size numbers in between. */
static void gru(const real *pre, const real *weight, const real *bias, const real *h0, real *y,
                real *added,
                int steps, int size, int reverse)
{
    const real *h = h0;
    for (int m = 0; m < steps; m++) {
        const int t = reverse ? steps - 1 - m : m;
        const real *given = pre + t * 3 * size;
        for (int i = 0; i < 3 * size; i++) {
            added[i] = bias ? bias[i] : 0;
            for (int j = 0; j < size && h; j++)
                added[i] += weight[i * size + j] * h[j];
        }
        for (int i = 0; i < size; i++) {
            const real r = logistic(given[i] + added[i]);
            const real z = logistic(given[size + i] + added[size + i]);
            const real n = real_tanh(given[2 * size + i] + r * added[2 * size + i]);
            y[t * size + i] = n + z * ((h ? h[i] : 0) - n);
        }
        h = y + t * size;
    }
}
