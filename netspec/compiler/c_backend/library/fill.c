/* All numbers of y become `value`. */
static void fill(real *y, int count, real value)
{
    for (int i = 0; i < count; i++)
        y[i] = value;
}
