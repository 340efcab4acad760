/* dweight[o][i] = sum over the rows of dy[r][o] * x[r][i] */
static void linear_backward_weight(const real *x, const real *dy, real *dweight,
                                   int rows, int inputs, int outputs)
{
    PARALLEL
    for (int o = 0; o < outputs; o++) {
        real *sums = dweight + o * inputs;
        for (int i = 0; i < inputs; i++)
            sums[i] = 0;
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < inputs; i++)
                sums[i] += dy[r * outputs + o] * x[r * inputs + i];
    }
}

/* dx[r][i] = sum over o of dy[r][o] * weight[o][i] */
static void linear_backward_input(const real *dy, const real *weight, real *dx,
                                  int rows, int inputs, int outputs)
{
    PARALLEL
    for (int r = 0; r < rows; r++) {
        real *sums = dx + r * inputs;
        for (int i = 0; i < inputs; i++)
            sums[i] = 0;
        for (int o = 0; o < outputs; o++)
            for (int i = 0; i < inputs; i++)
                sums[i] += dy[r * outputs + o] * weight[o * inputs + i];
    }
}
