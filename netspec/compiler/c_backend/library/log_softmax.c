/* Logarithms of probabilities: y = x - log(sum of exp(x)), along the middle axis of
   x [outer][count][inner]. */
static void log_softmax(const real *x, real *y,
                        int outer, int count, int inner)
{
    for (int a = 0; a < outer; a++)
        for (int b = 0; b < inner; b++) {
            const int first = a * count * inner + b;
            real most = x[first], sum = 0;
            for (int i = 1; i < count; i++)
                most = larger(most, x[first + i * inner]);
            for (int i = 0; i < count; i++)
                sum += real_exp(x[first + i * inner] - most);
            for (int i = 0; i < count; i++)
                y[first + i * inner] = x[first + i * inner] - most - real_log(sum);
        }
}
