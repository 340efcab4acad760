/* The gradients of `normalize`, where normal = (x - mean) * inverse and h = dy * weight:
   dx = inverse * (h - mean of h - normal * mean of h * normal). dweight gets dy * normal more, and dbias
   dy. Those that are 0 are skipped. */
static void normalize_backward(const real *x, const real *dy, const real *weight,
                               const real *means, const real *inverses,
                               real *dweight, real *dbias, real *dx,
                               int count, int step, int w_step, int count2, int step2, int w_step2)
{
    const real mean = *means, inverse = *inverses;
    real sum = 0, with_x = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count2; j++) {
            const int at = i * step + j * step2, w = i * w_step + j * w_step2;
            const real normal = (x[at] - mean) * inverse, h = dy[at] * (weight ? weight[w] : 1);
            sum += h;
            with_x += h * normal;
            if (dweight)
                dweight[w] += dy[at] * normal;
            if (dbias)
                dbias[w] += dy[at];
        }
    sum /= (real)(count * count2);
    with_x /= (real)(count * count2);
    for (int i = 0; i < count && dx; i++)
        for (int j = 0; j < count2; j++) {
            const int at = i * step + j * step2, w = i * w_step + j * w_step2;
            const real normal = (x[at] - mean) * inverse, h = dy[at] * (weight ? weight[w] : 1);
            dx[at] = inverse * (h - sum - normal * with_x);
        }
}
