/* The first sums of a block of eight filters, for each of so many outputs: the biases, or 0. */
static void begin_block(const real *bias, int filters, int outputs, real *sums)
{
    for (int o = 0; o < 8; o++)
        for (int p = 0; p < outputs; p++)
            sums[8 * p + o] = bias && o < filters ? bias[o] : 0;
}

/* Writes the sums of a block to the outputs, which lie `step` apart. */
static void end_block(const real *sums, int filters, int outputs, real *y, int step)
{
    for (int p = 0; p < outputs; p++)
        for (int o = 0; o < 8 && o < filters; o++)
            y[p * step + o] = sums[8 * p + o];
}
