/* dh = d weight: the gradient of a state, which `rows` numbers of the next step were made from. */
static void step_back(const real *d, const real *weight, real *dh, int rows, int size)
{
    for (int j = 0; j < size; j++)
        dh[j] = 0;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < size; j++)
            dh[j] += d[i] * weight[i * size + j];
}
