/* Long short-term memory: with a = pre[t] + weight h[t - 1] + bias, cut into the gates i, f, g, o:
   c[t] = sigmoid(f) c[t - 1] + sigmoid(i) tanh(g), y[t] = h[t] = sigmoid(o) tanh(c[t]).
   pre is [steps][4 * size], weight [4 * size][size]; h0 and c0 are the states to begin with, or none
   for 0. `c` holds `size` numbers and `gates` four times as many. If `before` is not 0, it and `cells`
   get the states that enter each step, `squashed` tanh(c[t]), and `gates` those of all steps. */
static void lstm(const real *pre, const real *weight, const real *bias, const real *h0,
                 const real *c0, real *y, real *c,
                 real *gates, real *before, real *cells, real *squashed,
                 int steps, int size, int reverse)
{
    const real *h = h0;
    for (int i = 0; i < size; i++)
        c[i] = c0 ? c0[i] : 0;
    for (int n = 0; n < steps; n++) {
        const int t = reverse ? steps - 1 - n : n, at = t * size;
        real *gate = before ? gates + 4 * at : gates;
        for (int i = 0; i < 4 * size; i++) {
            real sum = pre[4 * at + i] + (bias ? bias[i] : 0);
            for (int j = 0; j < size && h; j++)
                sum += weight[i * size + j] * h[j];
            gate[i] = i / size == 2 ? real_tanh(sum) : logistic(sum);
        }
        for (int i = 0; i < size; i++) {
            if (before) {
                before[at + i] = h ? h[i] : 0;
                cells[at + i] = c[i];
            }
            c[i] = gate[size + i] * c[i] + gate[i] * gate[2 * size + i];
            const real small = real_tanh(c[i]);
            if (before)
                squashed[at + i] = small;
            y[at + i] = gate[3 * size + i] * small;
        }
        h = y + at;
    }
}
