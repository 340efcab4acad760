/* From the last step to the first, with dh = dy[t] + dpre[t + 1] weight: dpre[t] = dh f'(h[t]), where
   tanh' = 1 - h^2. What is left of dh is the gradient of the state to begin with. */
static void rnn_backward(const real *dy, const real *weight, const real *y, real *dpre, real *dh,
                         int steps, int size, int reverse, int relu)
{
    for (int i = 0; i < size; i++)
        dh[i] = 0;
    for (int n = 0; n < steps; n++) {
        const int at = (reverse ? n : steps - 1 - n) * size;
        for (int i = 0; i < size; i++) {
            const real h = y[at + i], slope = relu ? (real)(h > 0) : 1 - h * h;
            dpre[at + i] = (dh[i] + dy[at + i]) * slope;
        }
        step_back(dpre + at, weight, dh, size, size);
    }
}
