/* y = x */
static void copy(const real *x, real *y, int count)
{
    for (int i = 0; i < count; i++)
        y[i] = x[i];
}
