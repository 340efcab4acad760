/* What the sum of the squares around the mean of a channel makes of the vectors of `batch_statistics`. */
static void use_squares(int c, real squares, const real *weight, const real *bias,
                        real *running_mean, real *running_var,
                        const real *mean, real *inverse_std, real *scale, real *shift,
                        int rows, real eps, real momentum)
{
    const real variance = squares / (real)rows;
    const real unbiased = squares / (real)(rows > 1 ? rows - 1 : 1);
    inverse_std[c] = 1 / real_sqrt(variance + eps);
    scale[c] = weight ? weight[c] * inverse_std[c] : inverse_std[c];
    shift[c] = (bias ? bias[c] : 0) - mean[c] * scale[c];
    if (running_mean)
        running_mean[c] += momentum * (mean[c] - running_mean[c]);
    if (running_var)
        running_var[c] += momentum * (unbiased - running_var[c]);
}

/* Batch normalization of x [rows][channels] is y = x * scale + shift, and these are the two. In
   training they come from the batch's mean and variance, which the running ones follow. */
static void batch_statistics(const real *x, const real *weight, const real *bias,
                             real *running_mean, real *running_var,
                             real *mean, real *inverse_std, real *scale, real *shift,
                             int rows, int channels, real eps, real momentum)
{
    PARALLEL
    for (int c = 0; c < channels; c++) {
        real sum = 0, squares = 0;
        for (int r = 0; r < rows; r++)
            sum += x[r * channels + c];
        mean[c] = sum / (real)rows;
        for (int r = 0; r < rows; r++) {
            const real d = x[r * channels + c] - mean[c];
            squares += d * d;
        }
        use_squares(c, squares, weight, bias, running_mean, running_var,
                    mean, inverse_std, scale, shift, rows, eps, momentum);
    }
}

/* In evaluation they come from the running mean and variance. */
static void running_scale_shift(const real *weight, const real *bias,
                                const real *mean, const real *variance, real *scale, real *shift,
                                int channels, real eps)
{
    for (int c = 0; c < channels; c++) {
        scale[c] = (weight ? weight[c] : 1) / real_sqrt(variance[c] + eps);
        shift[c] = (bias ? bias[c] : 0) - mean[c] * scale[c];
    }
}

/* A layer that is followed by y * scale + shift is one with another weight and bias. */
static void fold_into(const real *weight, const real *bias, const real *scale, const real *shift,
                      real *folded_weight, real *folded_bias, int filters, int each)
{
    for (int o = 0; o < filters; o++) {
        for (int i = 0; i < each; i++)
            folded_weight[o * each + i] = weight[o * each + i] * scale[o];
        folded_bias[o] = (bias ? bias[o] * scale[o] : 0) + shift[o];
    }
}

/* Add dy, and dy * (x - mean), over the rows of one channel. */
static void batch_norm_sums(const real *x, const real *dy, real mean, int rows, int channels,
                            real *sum, real *with_x)
{
    for (int r = 0; r < rows; r++) {
        *sum += dy[r * channels];
        *with_x += dy[r * channels] * (x[r * channels] - mean);
    }
}

/* What the sums over a channel of dy and of dy * (x - mean) make of the results of
   `batch_norm_backward`. */
static void use_slope_sums(int c, real sum, real with_x, const real *weight, const real *inverse_std,
                           real *dweight, real *dbias,
                           real *dy_scale, real *x_scale, real *dx_shift, int rows)
{
    with_x *= inverse_std[c];
    if (dbias)
        dbias[c] = sum;
    if (dweight)
        dweight[c] = with_x;
    dy_scale[c] = (weight ? weight[c] : 1) * inverse_std[c];
    x_scale[c] = -dy_scale[c] * inverse_std[c] * with_x / (real)rows;
    dx_shift[c] = -dy_scale[c] * sum / (real)rows;
}

/* The gradients of weight and bias, and three vectors that make that of x:
   dx = dy * dy_scale + (x - mean) * x_scale + dx_shift. */
static void batch_norm_backward(const real *x, const real *dy, const real *weight,
                                const real *mean, const real *inverse_std,
                                real *dweight, real *dbias,
                                real *dy_scale, real *x_scale, real *dx_shift,
                                int rows, int channels)
{
    PARALLEL
    for (int c = 0; c < channels; c++) {
        real sum = 0, with_x = 0;
        batch_norm_sums(x + c, dy + c, mean[c], rows, channels, &sum, &with_x);
        use_slope_sums(c, sum, with_x, weight, inverse_std, dweight, dbias,
                       dy_scale, x_scale, dx_shift, rows);
    }
}

/* In evaluation mean and variance do not depend on x: the gradients of weight and bias alone. */
static void batch_norm_running_backward(const real *x, const real *dy,
                                        const real *mean, const real *variance,
                                        real *dweight, real *dbias,
                                        int rows, int channels, real eps)
{
    PARALLEL
    for (int c = 0; c < channels; c++) {
        real sum = 0, with_x = 0;
        batch_norm_sums(x + c, dy + c, mean[c], rows, channels, &sum, &with_x);
        if (dbias)
            dbias[c] = sum;
        if (dweight)
            dweight[c] = with_x / real_sqrt(variance[c] + eps);
    }
}
