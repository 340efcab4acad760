/* Small in C99, made by netspec from small.net.
 *
 * A picture in two classes.
 *
 * input  image [1, 4, 4]
 * output output [2]
 *
 * Arrays are in row-major order, as above: of a picture, channel after channel.
 * Inside, the channels of a picture lie behind its places.
 *
 * weights   404 bytes, constants in this file
 * memory    64 bytes, the arena
 * stack     less than 2,048 bytes on a machine of 32 bits, with -O1 or more
 * work      114 multiply-adds for an image
 */

#include <math.h>

/* The type of all numbers: -DREAL=double for another. */
#ifdef REAL
typedef REAL small_real;
#define SMALL_ARENA_BYTES (SMALL_ARENA_NUMBERS * (int)sizeof(REAL))
#else
typedef float small_real;
#define SMALL_ARENA_BYTES 64
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers of the memory that values lie in. All calls share it: one thread at a time. */
#define SMALL_ARENA_NUMBERS 16

/* The most bytes of stack that a call takes on a machine of 32 bits, with -O1 or more. */
#define SMALL_STACK_BYTES 2048

/* The numbers of an input and of an output. */
#define SMALL_IMAGE_NUMBERS 16
#define SMALL_OUTPUT_NUMBERS 2

/* Predicts for one image. */
void small_predict(const small_real *image, small_real *output);

/* Predicts for `count` images that lie one behind the other. */
void small_predict_batch(int count, const small_real *image, small_real *output);

#ifdef __cplusplus
}
#endif

typedef small_real real;

/* Where values begin in the arena. Values that are not needed at the same time share a place. */
enum {
    AT_BATCH_NORM1 = 0,
    AT_MAX_POOL1_FIRST = 12,
    AT_MAX_POOL1 = 12,
    AT_LINEAR1 = 0
};

static real arena[SMALL_ARENA_NUMBERS];

static const real conv1_folded_weight[72] = {
    0.999995f, 0.999995f, 0.999995f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.999995f, 0.999995f, 0.999995f,
    0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.999995f, 0.999995f, 0.999995f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f,
    0.999995f, 0.999995f, 0.999995f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.999995f, 0.999995f, 0.999995f,
    0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.999995f, 0.999995f, 0.999995f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f,
    0.999995f, 0.999995f, 0.999995f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.999995f, 0.999995f, 0.999995f,
    0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.999995f, 0.999995f, 0.999995f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f
};

static const real conv1_folded_bias[3] = {
    4.9999626e-06f, 4.9999626e-06f, 4.9999626e-06f
};

static const real linear1_weight[24] = {
    1.0f, 1.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 1.0f, 1.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f,
    1.0f, 1.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f
};

static const real linear1_bias[2] = {
    1.0f, 1.0f
};

/* Adds to the sums of four neighbouring outputs, for eight filters each, the products of what they
   see with the filters. `x` belongs to the first output, x + step to the second, and so on. The
   filters are stored in blocks of eight, so that the innermost loop is one instruction or two. */
static void add_products_4(const real *x, int step, const real *filters, int count, real *sums)
{
    for (int half = 0; half < 8; half += 4) {
        real a[4], b[4], c[4], d[4];
        for (int o = 0; o < 4; o++) {
            a[o] = sums[half + o];
            b[o] = sums[8 + half + o];
            c[o] = sums[16 + half + o];
            d[o] = sums[24 + half + o];
        }
        for (int i = 0; i < count; i++) {
            const real *filter = filters + 8 * i + half;
            for (int o = 0; o < 4; o++) {
                a[o] += x[i] * filter[o];
                b[o] += x[step + i] * filter[o];
                c[o] += x[2 * step + i] * filter[o];
                d[o] += x[3 * step + i] * filter[o];
            }
        }
        for (int o = 0; o < 4; o++) {
            sums[half + o] = a[o];
            sums[8 + half + o] = b[o];
            sums[16 + half + o] = c[o];
            sums[24 + half + o] = d[o];
        }
    }
}

/* The same for one output. */
static void add_products_1(const real *x, const real *filters, int count, real *sums)
{
    real a[4], b[4];
    for (int o = 0; o < 4; o++) {
        a[o] = sums[o];
        b[o] = sums[4 + o];
    }
    for (int i = 0; i < count; i++) {
        const real *filter = filters + 8 * i;
        for (int o = 0; o < 4; o++) {
            a[o] += x[i] * filter[o];
            b[o] += x[i] * filter[4 + o];
        }
    }
    for (int o = 0; o < 4; o++) {
        sums[o] = a[o];
        sums[4 + o] = b[o];
    }
}

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

/* The tap behind the last one that lies inside. */
static int end_tap(int start, int dilation, int taps, int size)
{
    int inside = start < size ? (size - start + dilation - 1) / dilation : 0;
    return inside < taps ? inside : taps;
}

/* The taps of a window that lie inside an axis of `size` places: those from first_tap to end_tap - 1.
   Tap t reads place start + t * dilation; the others would read padding, which counts as nothing. */
static int first_tap(int start, int dilation)
{
    return start >= 0 ? 0 : (dilation - 1 - start) / dilation;
}

/* Convolution of a picture [height][width][channels]:
   y[i][j][o] = bias[o] + sum over k, l, c of
                x[i * stride_h + k * dilation_h - top][j * stride_w + l * dilation_w - left][c]
                * weight[o][k][l][c]
   The filters of a group see its channels alone. The weight is stored as [group][block of 8
   filters][k][l][channel of the group][filter in the block]. */
static void conv(const real *x, const real *weight, const real *bias, real *y,
                 int height, int width, int channels,
                 int y_height, int y_width, int filters,
                 int kernel_h, int kernel_w, int stride_h, int stride_w, int top, int left,
                 int dilation_h, int dilation_w, int groups)
{
    const int seen = channels / groups, made = filters / groups;
    const int x_row = dilation_h * width * channels, w_row = kernel_w * seen * 8;
    /* Taps that lie side by side in memory are one run. */
    const int joined = groups == 1 && dilation_w == 1;
    for (int g = 0; g < groups; g++) {
        for (int o = 0; o < made; o += 8, weight += kernel_h * w_row) {
            const real *added = bias ? bias + g * made + o : 0;
            for (int i = 0; i < y_height; i++) {
                const int above = i * stride_h - top;
                const int k0 = first_tap(above, dilation_h);
                const int k1 = end_tap(above, dilation_h, kernel_h, height);
                for (int j = 0, outputs; j < y_width; j += outputs) {
                    const int before = j * stride_w - left;
                    const int l0 = first_tap(before, dilation_w);
                    const int l1 = end_tap(before, dilation_w, kernel_w, width);
                    const int last = before + 3 * stride_w + (kernel_w - 1) * dilation_w;
                    const int from = (above * width + before) * channels + g * seen;
                    const int columns = joined ? (l1 > l0) : l1 - l0;
                    const int run = joined ? (l1 - l0) * seen : seen;
                    real sums[4 * 8];
                    outputs = j + 4 <= y_width && before >= 0 && last < width ? 4 : 1;
                    begin_block(added, made - o, outputs, sums);
                    for (int k = k0; k < k1; k++) {
                        for (int l = l0; l < l0 + columns; l++) {
                            const real *here = x + (from + k * x_row + l * dilation_w * channels);
                            const real *filter = weight + k * w_row + l * seen * 8;
                            if (outputs == 4)
                                add_products_4(here, stride_w * channels, filter, run, sums);
                            else
                                add_products_1(here, filter, run, sums);
                        }
                    }
                    end_block(sums, made - o, outputs,
                              y + (i * y_width + j) * filters + g * made + o, filters);
                }
            }
        }
    }
}

/* Fully connected: y[r][o] = bias[o] + sum over i of x[r][i] * weight[o][i], for each of `rows`.
   The weight is stored as [block of 8 outputs][input][output in the block]. */
static void linear(const real *x, const real *weight, const real *bias, real *y,
                   int rows, int inputs, int outputs)
{
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

/* The larger of two numbers; no number (NaN) if one of them is none. */
static real larger(real a, real b)
{
    return a >= b || a != a ? a : b;
}

/* The largest number of each window of a picture [height][width][channels], channel by channel:
   y[i][j][c] = max over k, l of
                x[i * stride_h + k * dilation_h - top][j * stride_w + l * dilation_w - left][c] */
static void max_pool(const real *x, real *y,
                     int height, int width, int channels,
                     int y_height, int y_width, int kernel_h, int kernel_w,
                     int stride_h, int stride_w, int top, int left, int dilation_h, int dilation_w)
{
    for (int i = 0; i < y_height; i++) {
        const int above = i * stride_h - top;
        const int k1 = end_tap(above, dilation_h, kernel_h, height);
        for (int j = 0; j < y_width; j++, y += channels) {
            const int before = j * stride_w - left;
            const int l1 = end_tap(before, dilation_w, kernel_w, width);
            for (int c = 0; c < channels; c++)
                y[c] = (real)-INFINITY;
            for (int k = first_tap(above, dilation_h); k < k1; k++) {
                for (int l = first_tap(before, dilation_w); l < l1; l++) {
                    const int row = above + k * dilation_h, column = before + l * dilation_w;
                    const real *seen = x + (row * width + column) * channels;
                    for (int c = 0; c < channels; c++)
                        y[c] = larger(y[c], seen[c]);
                }
            }
        }
    }
}

static real real_exp(real x)
{
    return sizeof(real) == sizeof(float) ? (real)expf((float)x) : (real)exp((double)x);
}

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

static void relu(const real *x, real *y, int count)
{
    for (int i = 0; i < count; i++)
        y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

void small_predict(const small_real *image, small_real *output)
{
    /* line 6: conv1 = conv(3, 3, bias = false)  [3, 2, 2] */
    conv(image, conv1_folded_weight, conv1_folded_bias, arena + AT_BATCH_NORM1,
        /* height, width, channels */ 4, 4, 1,
        /* y_height, y_width, filters */ 2, 2, 3,
        /* kernel_h, kernel_w, stride_h, stride_w, top, left */ 3, 3, 1, 1, 0, 0,
        /* dilation_h, dilation_w, groups */ 1, 1, 1);

    /* line 7: max_pool1 = max_pool(2)  [3, 1, 1] */
    max_pool(arena + AT_BATCH_NORM1, arena + AT_MAX_POOL1_FIRST,
        /* height, width, channels */ 2, 2, 3,
        /* y_height, y_width, kernel_h, kernel_w */ 1, 1, 2, 2,
        /* stride_h, stride_w, top, left, dilation_h, dilation_w */ 2, 2, 0, 0, 1, 1);
    relu(arena + AT_MAX_POOL1_FIRST, arena + AT_MAX_POOL1, 3);

    /* line 7: linear1 = linear(classes)  [2] */
    linear(arena + AT_MAX_POOL1, linear1_weight, linear1_bias, arena + AT_LINEAR1,
        /* rows, inputs, outputs */ 1, 3, 2);

    /* line 7: softmax1 = softmax  [2] */
    softmax(arena + AT_LINEAR1, output,
        /* outer, count, inner */ 1, 2, 1);
}

void small_predict_batch(int count, const small_real *image, small_real *output)
{
    for (int n = 0; n < count; n++)
        small_predict(image + n * 16, output + n * 2);
}
