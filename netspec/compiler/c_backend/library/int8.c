/* a * b / 2^31, rounded to the nearest. */
static int32_t high_product(int32_t a, int32_t b)
{
    const int64_t product = (int64_t)a * b;
    return (int32_t)((product + (product >= 0 ? 1 << 30 : 1 - (1 << 30))) / ((int64_t)1 << 31));
}

/* x * multiplier * 2^(shift - 31), rounded as TensorFlow Lite does. */
static int32_t scaled(int32_t x, int32_t multiplier, int shift)
{
    const int32_t high = high_product(shift > 0 ? x * (1 << shift) : x, multiplier);
    const int right = shift < 0 ? -shift : 0;
    const int32_t mask = (int32_t)(((int64_t)1 << right) - 1);
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0));
}

/* The nearest number of 8 bits. */
static int8_t in_int8(int32_t x)
{
    return (int8_t)(x < -128 ? -128 : x > 127 ? 127 : x);
}

/* Numbers as whole ones: x = scale * (y - zero). */
static void quantize(const real *x, int8_t *y, int count, real scale, int zero)
{
    for (int i = 0; i < count; i++) {
        const real place = real_rint(x[i] / scale) + (real)zero;
        y[i] = place > 127 ? 127 : place >= -128 ? (int8_t)place : (int8_t)(place < -128 ? -128 : zero);
    }
}

/* The same for numbers that are normalised first: a mean and a scale for `after` numbers each. */
static void quantize_normalized(const real *x, const real *mean, const real *by, int8_t *y,
                                int count, int after, real scale, int zero)
{
    for (int i = 0; i < count; i += after)
        for (int j = i; j < i + after; j++) {
            const real place = real_rint((x[j] - mean[i / after]) / by[i / after] / scale) + (real)zero;
            y[j] = place > 127 ? 127 : place >= -128 ? (int8_t)place : (int8_t)(place < -128 ? -128 : zero);
        }
}

/* Bytes as whole numbers, from tables of 256 for `after` bytes each. */
static void quantize_bytes(const uint8_t *x, const int8_t *table, int8_t *y, int count, int after)
{
    for (int i = 0; i < count; i += after, table += 256)
        for (int j = i; j < i + after; j++)
            y[j] = table[x[j]];
}

/* Numbers as whole ones, back. */
static void dequantize(const int8_t *x, real *y, int count, real scale, int zero)
{
    for (int i = 0; i < count; i++)
        y[i] = (real)(x[i] - zero) * scale;
}

/* The sum of (x - x_zero) * weight. Processors with such instructions, as a Cortex-M4 is, add two
   products at once: of four bytes the first and third, and the others. */
#ifdef __ARM_FEATURE_DSP
#include <arm_acle.h>
#endif
static int32_t products_int8(const int8_t *x, const int8_t *weight, int count, int x_zero)
{
    int32_t sum = 0;
    int i = 0;
#ifdef __ARM_FEATURE_DSP
    const uint32_t zero = (uint32_t)-x_zero & 0xffffu;
    const int16x2_t less = (int16x2_t)(zero | zero << 16);
    for (; i + 4 <= count; i += 4) {
        uint32_t a, b;
        __builtin_memcpy(&a, x + i, 4);
        __builtin_memcpy(&b, weight + i, 4);
        sum = __smlad((int16x2_t)__sxtab16(less, (int8x4_t)a), __sxtb16((int8x4_t)b), sum);
        a = a >> 8 | a << 24;
        b = b >> 8 | b << 24;
        sum = __smlad((int16x2_t)__sxtab16(less, (int8x4_t)a), __sxtb16((int8x4_t)b), sum);
    }
#endif
    for (; i < count; i++)
        sum += (x[i] - x_zero) * weight[i];
    return sum;
}

/* Convolution in whole numbers: sums of 32 bits of (x - x_zero) * weight[o][k][l][c], which get a factor
   for each filter. What a row of a filter sees lies side by side, without dilation and groups. */
static void conv_int8(const int8_t *x, const int8_t *weight, const int32_t *bias,
                      const int32_t *multipliers, const int8_t *shifts, int8_t *y,
                      int height, int width, int channels, int y_height, int y_width, int filters,
                      int kernel_h, int kernel_w, int stride_h, int stride_w, int top, int left,
                      int dilation_h, int dilation_w, int groups, int x_zero, int y_zero)
{
    const int seen = channels / groups, made = filters / groups;
    for (int i = 0; i < y_height; i++) {
        const int above = i * stride_h - top;
        const int k1 = end_tap(above, dilation_h, kernel_h, height);
        for (int j = 0; j < y_width; j++, y += filters) {
            const int before = j * stride_w - left, l0 = first_tap(before, dilation_w);
            const int l1 = end_tap(before, dilation_w, kernel_w, width);
            const int taps = groups == 1 && dilation_w == 1 ? l1 - l0 : 1;
            for (int o = 0; o < filters; o++) {
                const int8_t *part = x + o / made * seen;
                int32_t sum = bias[o];
                for (int k = first_tap(above, dilation_h); k < k1; k++)
                    for (int l = l0; l < l1; l += taps) {
                        const int row = above + k * dilation_h, column = before + l * dilation_w;
                        const int8_t *from = part + (row * width + column) * channels;
                        const int8_t *filter = weight + ((o * kernel_h + k) * kernel_w + l) * seen;
                        sum += products_int8(from, filter, taps * seen, x_zero);
                    }
                y[o] = in_int8(scaled(sum, multipliers[o], shifts[o]) + y_zero);
            }
        }
    }
}

/* What `rows` times `columns` taps of four channels that lie side by side sum to, as products_int8 does.
   Steps are those from a tap to the next one. */
#ifdef __ARM_FEATURE_DSP
#include <arm_acle.h>
#endif
static void four_sums_int8(const int8_t *x, const int8_t *weight, int rows, int columns,
                           int x_row, int x_column, int weight_row, int channels, int x_zero,
                           int32_t *sums)
{
    int32_t a = 0, b = 0, c = 0, d = 0;
#ifdef __ARM_FEATURE_DSP
    const uint32_t zero = (uint32_t)-x_zero & 0xffffu;
    const int16x2_t less = (int16x2_t)(zero | zero << 16);
#endif
    for (int k = 0; k < rows; k++) {
        const int8_t *seen = x + k * x_row, *filter = weight + k * weight_row;
        for (int l = 0; l < columns; l++, seen += x_column, filter += channels) {
#ifdef __ARM_FEATURE_DSP
            uint32_t p, q;
            __builtin_memcpy(&p, seen, 4);
            __builtin_memcpy(&q, filter, 4);
            const int16x2_t even = __sxtab16(less, (int8x4_t)p), by_even = __sxtb16((int8x4_t)q);
            a = __smlabb(even, by_even, a);
            c = __smlatt(even, by_even, c);
            p = p >> 8 | p << 24;
            q = q >> 8 | q << 24;
            const int16x2_t odd = __sxtab16(less, (int8x4_t)p), by_odd = __sxtb16((int8x4_t)q);
            b = __smlabb(odd, by_odd, b);
            d = __smlatt(odd, by_odd, d);
#else
            a += (seen[0] - x_zero) * filter[0];
            b += (seen[1] - x_zero) * filter[1];
            c += (seen[2] - x_zero) * filter[2];
            d += (seen[3] - x_zero) * filter[3];
#endif
        }
    }
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

/* Convolution in whole numbers with one filter for each of four channels or more: weight[k][l][c]. The
   last four channels may have some of those before, whose numbers are the same again. */
static void depthwise_conv_int8(const int8_t *x, const int8_t *weight, const int32_t *bias,
                                const int32_t *multipliers, const int8_t *shifts, int8_t *y,
                                int height, int width, int channels, int y_height, int y_width,
                                int kernel_h, int kernel_w, int stride_h, int stride_w,
                                int top, int left, int dilation_h, int dilation_w,
                                int x_zero, int y_zero)
{
    const int x_row = dilation_h * width * channels, x_column = dilation_w * channels;
    for (int i = 0; i < y_height; i++) {
        const int above = i * stride_h - top, k0 = first_tap(above, dilation_h);
        const int rows = end_tap(above, dilation_h, kernel_h, height) - k0;
        for (int j = 0; j < y_width; j++, y += channels) {
            const int before = j * stride_w - left, l0 = first_tap(before, dilation_w);
            const int columns = end_tap(before, dilation_w, kernel_w, width) - l0;
            const int row = above + k0 * dilation_h, column = before + l0 * dilation_w;
            const int from = rows > 0 && columns > 0 ? (row * width + column) * channels : 0;
            const int by = rows > 0 && columns > 0 ? (k0 * kernel_w + l0) * channels : 0;
            for (int n = 0; n < channels; n += 4) {
                const int first = n + 4 <= channels ? n : channels - 4;
                int32_t sums[4];
                four_sums_int8(x + from + first, weight + by + first, rows, columns, x_row, x_column,
                    kernel_w * channels, channels, x_zero, sums);
                for (int c = first; c < first + 4; c++) {
                    const int32_t sum = bias[c] + sums[c - first];
                    y[c] = in_int8(scaled(sum, multipliers[c], shifts[c]) + y_zero);
                }
            }
        }
    }
}

/* Fully connected in whole numbers. */
static void linear_int8(const int8_t *x, const int8_t *weight, const int32_t *bias,
                        const int32_t *multipliers, const int8_t *shifts, int8_t *y,
                        int rows, int inputs, int outputs, int x_zero, int y_zero)
{
    for (int r = 0; r < rows; r++, x += inputs, y += outputs)
        for (int o = 0; o < outputs; o++) {
            const int32_t sum = bias[o] + products_int8(x, weight + o * inputs, inputs, x_zero);
            y[o] = in_int8(scaled(sum, multipliers[o], shifts[o]) + y_zero);
        }
}

/* The largest number of each window of a picture. */
static void max_pool_int8(const int8_t *x, int8_t *y,
                          int height, int width, int channels, int y_height, int y_width,
                          int kernel_h, int kernel_w, int stride_h, int stride_w, int top, int left,
                          int dilation_h, int dilation_w)
{
    for (int i = 0; i < y_height; i++)
        for (int j = 0; j < y_width; j++, y += channels) {
            const int above = i * stride_h - top, before = j * stride_w - left;
            const int k1 = end_tap(above, dilation_h, kernel_h, height);
            const int l1 = end_tap(before, dilation_w, kernel_w, width);
            for (int c = 0; c < channels; c++) {
                int8_t most = -128;
                for (int k = first_tap(above, dilation_h); k < k1; k++)
                    for (int l = first_tap(before, dilation_w); l < l1; l++) {
                        const int row = above + k * dilation_h, column = before + l * dilation_w;
                        const int8_t here = x[(row * width + column) * channels + c];
                        most = here > most ? here : most;
                    }
                y[c] = most;
            }
        }
}

/* The mean of each window, rounded away from 0. The padding counts as `zero`, or not at all. */
static void avg_pool_int8(const int8_t *x, int8_t *y,
                          int height, int width, int channels, int y_height, int y_width,
                          int kernel_h, int kernel_w, int stride_h, int stride_w, int top, int left,
                          int dilation_h, int dilation_w, int zero, int counts_padding)
{
    for (int i = 0; i < y_height; i++)
        for (int j = 0; j < y_width; j++, y += channels) {
            const int above = i * stride_h - top, before = j * stride_w - left;
            const int k0 = first_tap(above, dilation_h), l0 = first_tap(before, dilation_w);
            const int k1 = end_tap(above, dilation_h, kernel_h, height);
            const int l1 = end_tap(before, dilation_w, kernel_w, width);
            const int inside = k1 > k0 && l1 > l0 ? (k1 - k0) * (l1 - l0) : 0;
            const int count = counts_padding ? kernel_h * kernel_w : inside > 0 ? inside : 1;
            for (int c = 0; c < channels; c++) {
                int32_t sum = counts_padding ? zero * (count - inside) : 0;
                for (int k = k0; k < k1; k++)
                    for (int l = l0; l < l1; l++) {
                        const int row = above + k * dilation_h, column = before + l * dilation_w;
                        sum += x[(row * width + column) * channels + c];
                    }
                y[c] = in_int8(sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count);
            }
        }
}

/* Sums of two values, each with a scale of its own. */
static void add_int8(const int8_t *a, const int8_t *b, int8_t *y,
                     int count, int a_zero, int a_multiplier, int a_shift,
                     int b_zero, int b_multiplier, int b_shift, int multiplier, int shift, int y_zero)
{
    for (int i = 0; i < count; i++) {
        const int32_t one = scaled((a[i] - a_zero) * (1 << 20), a_multiplier, a_shift);
        const int32_t two = scaled((b[i] - b_zero) * (1 << 20), b_multiplier, b_shift);
        y[i] = in_int8(scaled(one + two, multiplier, shift) + y_zero);
    }
}

/* The same numbers in another scale. */
static void rescale_int8(const int8_t *x, int8_t *y,
                         int count, int x_zero, int multiplier, int shift, int y_zero)
{
    for (int i = 0; i < count; i++)
        y[i] = in_int8(scaled(x[i] - x_zero, multiplier, shift) + y_zero);
}

/* What a table has for each of 256 numbers, the least first. */
static void look_up_int8(const int8_t *x, const int8_t *table, int8_t *y, int count)
{
    for (int i = 0; i < count; i++)
        y[i] = table[x[i] + 128];
}

/* Each place of a picture [height][width][channels] repeated along both axes. */
static void nearest_int8(const int8_t *x, int8_t *y,
                         int height, int width, int channels, int times_h, int times_w)
{
    for (int i = 0; i < height * times_h; i++)
        for (int j = 0; j < width * times_w; j++)
            for (int c = 0; c < channels; c++)
                *y++ = x[(i / times_h * width + j / times_w) * channels + c];
}

/* Rows of a part of a value, in another scale: `whole` numbers lie from row to row there. */
static void insert_int8(const int8_t *x, int8_t *y,
                        int rows, int part, int whole, int x_zero, int multiplier, int shift, int y_zero)
{
    for (int r = 0; r < rows; r++, x += part, y += whole)
        for (int i = 0; i < part; i++)
            y[i] = in_int8(scaled(x[i] - x_zero, multiplier, shift) + y_zero);
}

/* Shares of rows as 256 times each, from a table of exp(-d) for the distance d to the largest. */
static void softmax_int8(const int8_t *x, const int32_t *table, int8_t *y, int rows, int columns)
{
    for (int r = 0; r < rows; r++, x += columns, y += columns) {
        int most = x[0];
        int32_t sum = 0;
        for (int i = 1; i < columns; i++)
            most = x[i] > most ? x[i] : most;
        for (int i = 0; i < columns; i++)
            sum += table[most - x[i]];
        for (int i = 0; i < columns; i++)
            y[i] = in_int8((256 * table[most - x[i]] + sum / 2) / sum - 128);
    }
}

/* A copy, perhaps onto itself. */
static void copy_int8(const int8_t *x, int8_t *y, int count)
{
    for (int i = 0; i < count; i++)
        y[i] = x[i];
}

/* y [columns][rows] is x [rows][columns] with its axes exchanged. */
static void transpose_int8(const int8_t *x, int8_t *y, int rows, int columns)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            y[c * rows + r] = x[r * columns + c];
}
