/* The gradient of softmax along the middle axis of y [outer][count][inner]:
   dx = y * (dy - sum of y * dy). */
static void softmax_backward(const real *y, const real *dy, real *dx,
                             int outer, int count, int inner)
{
    for (int a = 0; a < outer; a++)
        for (int b = 0; b < inner; b++) {
            const int first = a * count * inner + b;
            real sum = 0;
            for (int i = 0; i < count; i++)
                sum += y[first + i * inner] * dy[first + i * inner];
            for (int i = 0; i < count; i++)
                dx[first + i * inner] = y[first + i * inner] * (dy[first + i * inner] - sum);
        }
}

/* That of its logarithm: dx = dy - exp(y) * sum of dy. */
static void log_softmax_backward(const real *y, const real *dy, real *dx,
                                 int outer, int count, int inner)
{
    for (int a = 0; a < outer; a++)
        for (int b = 0; b < inner; b++) {
            const int first = a * count * inner + b;
            real sum = 0;
            for (int i = 0; i < count; i++)
                sum += dy[first + i * inner];
            for (int i = 0; i < count; i++)
                dx[first + i * inner] = dy[first + i * inner] - real_exp(y[first + i * inner]) * sum;
        }
}
