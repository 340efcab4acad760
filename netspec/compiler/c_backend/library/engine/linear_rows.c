/* Some blocks of outputs of one row at a time, because each sum waits for its last addition. */
static INLINE void blocks_of_row(const int blocks, const real *x, const real *packed, const real *bias,
                                 const real *skip, real *y, int inputs, int high, const Limits *limits)
{
    enum { EACH = BLOCK / LANES, MOST = 3 };
    Vector sums[MOST * EACH];
    real each[MOST * BLOCK] = {0};
    for (int o = 0; bias && o < high; o++)
        each[o] = bias[o];
    for (int v = 0; v < blocks * EACH; v++)
        sums[v] = READ(each + v * LANES);
    for (int i = 0; i < inputs; i++)
        for (int v = 0; v < blocks * EACH; v++)
            sums[v] += x[i] * READ(packed + (v / EACH * inputs + i) * BLOCK + v % EACH * LANES);
    for (int v = 0; v < blocks * EACH; v++)
        AT(each + v * LANES) = sums[v];
    for (int o = 0; o < high; o += LANES) {
        Vector sum = READ(each + o);
        if (skip)
            sum += lanes_of(skip + o, high - o);
        if (limits)
            sum = limited(sum, limits);
        write_lanes(sum, y + o, high - o);
    }
}

/* What `linear_rows` computes for one row, with the same bits. */
static void linear_row(const real *x, const real *packed, const real *bias, const real *skip, real *y,
                       int inputs, int outputs, const Limits *limits)
{
    SHARE(o, outputs, 3 * BLOCK, (double)inputs * outputs > PRODUCTS) {
        const real *block = packed + o * inputs, *added = bias ? bias + o : 0;
        const real *with = skip ? skip + o : 0;
        const int high = outputs - o;
        if (high > 2 * BLOCK)
            blocks_of_row(3, x, block, added, with, y + o, inputs,
                          high < 3 * BLOCK ? high : 3 * BLOCK, limits);
        else if (high > BLOCK)
            blocks_of_row(2, x, block, added, with, y + o, inputs, high, limits);
        else
            blocks_of_row(1, x, block, added, with, y + o, inputs, high, limits);
    }
}

/* How many of the rows that are left a tile takes: all take about as many, because a tile of a few waits for
   its own sums. */
static int even_rows(int left, int most)
{
    const int tiles = (left - 1) / most + 1;
    return (left - 1) / tiles + 1;
}

/* So many inputs at a time: their part of a block stays in the smallest cache for all rows. */
#ifndef PIECE
#define PIECE 512
#endif

/* Fully connected: y[r][o] = bias[o] + sum over i of x[r][i] * weight[o][i], with blocks of 16 outputs,
   [block][input][output in the block]. Threads share the blocks; those that do not divide evenly among them
   are cut by rows, so that no thread waits for another's whole block. `skip` and limits are those of
   `conv_images`. */
static void linear_rows(const real *x, const real *packed, const real *bias, const real *skip, real *y,
                        int rows, int inputs, int outputs, int is_limited, real lowest, real highest)
{
    const Limits limits = {lowest, highest};
    const int blocks = (outputs + BLOCK - 1) / BLOCK, parts = (rows + 63) / 64;
    const int rest = blocks % THREADS, cuts = parts * THREADS, whole = (blocks - rest) * parts;
    /* Sums that are added to the very array that they are written to are made at once. */
    const int piece = skip && skip == y ? inputs + 1 : PIECE;
    if (rows == 1) {
        linear_row(x, packed, bias, skip, y, inputs, outputs, is_limited ? &limits : 0);
        return;
    }
    SHARE(item, whole + rest * cuts, 1, (double)rows * inputs * outputs > PRODUCTS) {
        const int at = item < whole ? item : item - whole, many = item < whole ? parts : cuts;
        const int o = ((item < whole ? 0 : blocks - rest) + at / many) * BLOCK;
        const int each = (rows - 1) / many + 1, r0 = at % many * each;
        const int r1 = r0 + each < rows ? r0 + each : rows;
        const int high = outputs - o < BLOCK ? outputs - o : BLOCK, most = tile_rows(high);
        int x_at[8], y_at[8];
        for (int p = 0; p < most; p++) {
            x_at[p] = p * inputs;
            y_at[p] = p * outputs;
        }
        for (int i = 0; i == 0 || i < inputs; i += piece) {
            const int last = inputs - i <= piece;
            const Walk walk = {1, 0, 0, 1, 0, 0, last ? inputs - i : piece, 1, BLOCK};
            const int start = i ? FROM_Y : bias ? FROM_BIAS : FROM_ZERO;
            for (int r = r0, used; r < r1; r += used) {
                used = even_rows(r1 - r, most);
                tile_along(used, &walk, x + r * inputs + i, x_at,
                           packed + o * inputs + i * BLOCK, bias ? bias + o : 0, start,
                           y + r * outputs + o, skip && last ? skip + r * outputs + o : 0, y_at, high, 0,
                           is_limited && last ? &limits : 0);
            }
        }
    }
}

/* Sixteen columns of a matrix [rows][columns], with zeros behind the last one. */
static void pack_columns(const real *x, real *packed, int rows, int columns, int high)
{
    for (int r = 0; r < rows; r++, x += columns, packed += BLOCK) {
        if (high == BLOCK) {
            for (int o = 0; o < BLOCK; o++)
                packed[o] = x[o];
        } else {
            for (int o = 0; o < BLOCK; o++)
                packed[o] = o < high ? x[o] : 0;
        }
    }
}

/* dx[r][i] = sum over o of dy[r][o] * weight[o][i]. Each thread has `each` numbers of `work`. */
static void linear_rows_backward_input(const real *dy, const real *weight, real *dx, real *work, int each,
                                       int rows, int inputs, int outputs)
{
    const Walk walk = {1, 0, 0, 1, 0, 0, outputs, 1, BLOCK};
    SHARE(i, inputs, BLOCK, (double)rows * inputs * outputs > PRODUCTS) {
        const int high = inputs - i < BLOCK ? inputs - i : BLOCK, most = tile_rows(high);
        real *block = work + THIS_THREAD * each;
        int dy_at[8], dx_at[8];
        pack_columns(weight + i, block, outputs, inputs, high);
        for (int p = 0; p < most; p++) {
            dy_at[p] = p * outputs;
            dx_at[p] = p * inputs;
        }
        for (int r = 0, used; r < rows; r += used) {
            used = even_rows(rows - r, most);
            tile_along(used, &walk, dy + r * outputs, dy_at, block, 0,
                       FROM_ZERO, dx + r * inputs + i, 0, dx_at, high, 0, 0);
        }
    }
}

/* dweight[o][i] = sum over the rows of dy[r][o] * x[r][i]; `part` rows of x at a time are packed. */
static void linear_rows_backward_weight(const real *x, const real *dy, real *dweight, real *work, int each,
                                        int rows, int inputs, int outputs, int part)
{
    SHARE(i, inputs, BLOCK, (double)rows * inputs * outputs > PRODUCTS) {
        const int high = inputs - i < BLOCK ? inputs - i : BLOCK, most = tile_rows(high);
        real *block = work + THIS_THREAD * each;
        int y_at[8];
        for (int p = 0; p < most; p++)
            y_at[p] = p * inputs;
        for (int r = 0; r < rows; r += part) {
            const int many = rows - r < part ? rows - r : part;
            const Walk walk = {1, 0, 0, 1, 0, 0, many, outputs, BLOCK};
            pack_columns(x + r * inputs + i, block, many, inputs, high);
            for (int o = 0; o < outputs; o += most)
                tile_across(outputs - o < most ? outputs - o : most, &walk, dy + r * outputs + o, block,
                            r ? FROM_Y : FROM_ZERO, dweight + o * inputs + i, y_at, high);
        }
    }
}
