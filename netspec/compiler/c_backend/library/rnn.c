/* Recurrent: h[t] = f(pre[t] + weight h[t - 1] + bias), f being tanh or relu, over `steps` steps, the
   last first if `reverse`. pre and y are [steps][size], weight [size][size], h0 the state to begin
   with, or none for 0. `before` is where the state that enters each step goes, or 0. */
static void rnn(const real *pre, const real *weight, const real *bias, const real *h0, real *y,
                real *before,
                int steps, int size, int reverse, int relu)
{
    const real *h = h0;
    for (int n = 0; n < steps; n++) {
        const int t = reverse ? steps - 1 - n : n;
        for (int i = 0; i < size && before; i++)
            before[t * size + i] = h ? h[i] : 0;
        for (int i = 0; i < size; i++) {
            real sum = pre[t * size + i] + (bias ? bias[i] : 0);
            for (int j = 0; j < size && h; j++)
                sum += weight[i * size + j] * h[j];
            if (relu)
                y[t * size + i] = sum < 0 ? 0 : sum;
            else
                y[t * size + i] = real_tanh(sum);
        }
        h = y + t * size;
    }
}
