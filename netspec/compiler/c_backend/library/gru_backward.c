/* From the last step to the first: dn = dh (1 - z) (1 - n^2), dz = dh (h[t - 1] - n) z (1 - z),
   dr = dn inner r (1 - r). dpre gets (dr, dz, dn) and dinner (dr, dz, dn r), the gradient of
   a = weight h[t - 1] + bias; dh[t - 1] = dh z + dinner weight. `back` holds `size` numbers. */
static void gru_backward(const real *dy, const real *weight, const real *gates, const real *before,
                         const real *inner, real *dpre, real *dinner, real *dh, real *back,
                         int steps, int size, int reverse)
{
    for (int i = 0; i < size; i++)
        dh[i] = 0;
    for (int m = 0; m < steps; m++) {
        const int at = (reverse ? m : steps - 1 - m) * size;
        const real *gate = gates + 3 * at;
        real *d = dpre + 3 * at, *da = dinner + 3 * at;
        for (int i = 0; i < size; i++) {
            const real r = gate[i], z = gate[size + i], n = gate[2 * size + i];
            const real slope = dh[i] + dy[at + i], dn = slope * (1 - z) * (1 - n * n);
            d[i] = da[i] = dn * inner[at + i] * r * (1 - r);
            d[size + i] = da[size + i] = slope * (before[at + i] - n) * z * (1 - z);
            d[2 * size + i] = dn;
            da[2 * size + i] = dn * r;
            dh[i] = slope * z;
        }
        step_back(da, weight, back, 3 * size, size);
        for (int i = 0; i < size; i++)
            dh[i] += back[i];
    }
}
