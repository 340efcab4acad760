/* Normalizes the numbers x[i * step + j * step2], for i < count and j < count2: y has their mean
   taken off, is divided by their deviation, and is scaled and shifted by a weight and a bias of its
   own for each (w_step apart), or for all. The mean and the inverse of the deviation go to `means` and
   `inverses`, if these are not 0. */
static void normalize(const real *x, const real *weight, const real *bias, real *y,
                      real *means, real *inverses,
                      int count, int step, int w_step, int count2, int step2, int w_step2, real eps)
{
    real mean = 0, variance = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count2; j++)
            mean += x[i * step + j * step2];
    mean /= (real)(count * count2);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count2; j++) {
            const real d = x[i * step + j * step2] - mean;
            variance += d * d;
        }
    variance /= (real)(count * count2);
    const real inverse = 1 / real_sqrt(variance + eps);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count2; j++) {
            const int at = i * step + j * step2, w = i * w_step + j * w_step2;
            const real normal = (x[at] - mean) * inverse;
            y[at] = normal * (weight ? weight[w] : 1) + (bias ? bias[w] : 0);
        }
    if (means)
        *means = mean;
    if (inverses)
        *inverses = inverse;
}
