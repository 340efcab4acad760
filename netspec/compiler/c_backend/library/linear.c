/* Fully connected: y[r][o] = bias[o] + sum over i of x[r][i] * weight[o][i], for each of `rows`.
   The weight is stored as [block of 8 outputs][input][output in the block]. */
static void linear(const real *x, const real *weight, const real *bias, real *y,
                   int rows, int inputs, int outputs)
{
    PARALLEL
    for (int o = 0; o < outputs; o += 8) {
        const real *block = weight + o * inputs, *added = bias ? bias + o : 0;
        real sums[4 * 8];
        int r = 0;
        for (; r + 4 <= rows; r += 4) {
            begin_block(added, outputs - o, 4, sums);
            add_products_4(x + r * inputs, inputs, block, inputs, sums);
            end_block(sums, outputs - o, 4, y + r * outputs + o, outputs);
        }
        for (; r < rows; r++) {
            begin_block(added, outputs - o, 1, sums);
            add_products_1(x + r * inputs, block, inputs, sums);
            end_block(sums, outputs - o, 1, y + r * outputs + o, outputs);
        }
    }
}
