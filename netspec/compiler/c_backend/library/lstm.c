/* Long short-term memory: with a = pre[t] + weight h[t - 1] + bias, cut into the gates i, f, g, o:
   c[t] = sigmoid(f) c[t - 1] + sigmoid(i) tanh(g), y[t] = h[t] = sigmoid(o) tanh(c[t]).
   pre is [steps][4 * size], weight [4 * size][size]; h0 and c0 are the states to begin with, or none
   for 0. `c` holds `size` numbers and `gates` four times as many. */
static void lstm(const real *pre, const real *weight, const real *bias, const real *h0,
                 const real *c0, real *y, real *c, real *gates,
                 int steps, int size, int reverse)
{
    const real *h = h0;
    for (int i = 0; i < size; i++)
        c[i] = c0 ? c0[i] : 0;
    for (int n = 0; n < steps; n++) {
        const int t = reverse ? steps - 1 - n : n;
        for (int i = 0; i < 4 * size; i++) {
            gates[i] = pre[t * 4 * size + i] + (bias ? bias[i] : 0);
            for (int j = 0; j < size && h; j++)
                gates[i] += weight[i * size + j] * h[j];
        }
        for (int i = 0; i < size; i++) {
            c[i] = logistic(gates[size + i]) * c[i] + logistic(gates[i]) * real_tanh(gates[2 * size + i]);
            y[t * size + i] = logistic(gates[3 * size + i]) * real_tanh(c[i]);
        }
        h = y + t * size;
    }
}
