/* Probabilities: y = exp(x) / sum of exp(x), along the middle axis of x [outer][count][inner]. The
   largest number is taken out first, so that exp does not overflow. */
static void softmax(const real *x, real *y,
                    int outer, int count, int inner)
{
    for (int a = 0; a < outer; a++)
        for (int b = 0; b < inner; b++) {
            const int first = a * count * inner + b;
            real most = x[first], sum = 0;
            for (int i = 1; i < count; i++)
                most = larger(most, x[first + i * inner]);
            for (int i = 0; i < count; i++) {
                y[first + i * inner] = real_exp(x[first + i * inner] - most);
                sum += y[first + i * inner];
            }
            for (int i = 0; i < count; i++)
                y[first + i * inner] /= sum;
        }
}
