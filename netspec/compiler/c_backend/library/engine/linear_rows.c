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

/* Some columns of a matrix of which a row has `columns`, in blocks [block of 16][row][column in the block]
   with zeros behind the last one. */
static void pack_columns(const real *x, real *packed, int rows, int columns, int high)
{
    for (int r = 0; r < rows; r++, x += columns, packed += BLOCK) {
        real *to = packed;
        int o = 0;
        for (; o + BLOCK <= high; o += BLOCK, to += rows * BLOCK)
            for (int i = 0; i < BLOCK; i += LANES)
                AT(to + i) = READ(x + o + i);
        for (int i = 0; o < high && i < BLOCK; i++)
            to[i] = o + i < high ? x[o + i] : 0;
    }
}

/* A block of the transpose of a matrix, of which a row has `apart` numbers. They are copied square by square,
   because rows that lie far apart may share few places of a cache. */
static void pack_rows(const real *x, real *packed, int rows, int apart, int high)
{
    real square[BLOCK][BLOCK] = {{0}};
    for (int r = 0; r < rows; r += BLOCK, x += BLOCK, packed += BLOCK * BLOCK) {
        const int many = rows - r < BLOCK ? rows - r : BLOCK;
        for (int o = 0; o < high; o++) {
            if (many == BLOCK) {
                for (int i = 0; i < BLOCK; i += LANES)
                    AT(square[o] + i) = READ(x + o * apart + i);
            } else {
                for (int i = 0; i < many; i++)
                    square[o][i] = x[o * apart + i];
            }
        }
        for (int i = 0; i < many; i++)
            for (int o = 0; o < BLOCK; o++)
                packed[i * BLOCK + o] = square[o][i];
    }
}

/* A matrix of which columns are multiplied with rows: packed in blocks of 16 columns, or as it is, or as its
   transpose is. */
enum { IN_BLOCKS, AS_IT_IS, TRANSPOSED };

/* Some numbers of each row, which lie `apart` from row to row, one row behind the other. */
static void rows_together(const real *x, real *to, int rows, int columns, int apart)
{
    for (int r = 0; r < rows; r++, x += apart, to += columns) {
        int i = 0;
        for (; i + LANES <= columns; i += LANES)
            AT(to + i) = READ(x + i);
        for (; i < columns; i++)
            to[i] = x[i];
    }
}

/* y[r][o] = bias[o] + sum over i of x[r][i] * b[i][o], for some rows and the columns from `first` to before
   `end`, piece by piece. In `work` are the columns, if they are not packed, and the rows, which lie far
   apart. */
static INLINE void product_of_rows(const int kind, const real *x, const real *b, const real *bias,
                                   const real *skip, real *y, real *work, int rows, int inputs, int outputs,
                                   int first, int end, const Limits *limits)
{
    /* Sums that are added to the very array that they are written to are made at once. */
    const int piece = skip && skip == y ? inputs + 1 : PIECE;
    const int copies = kind != IN_BLOCKS && inputs > piece && end - first > BLOCK;
    for (int i = 0; i == 0 || i < inputs; i += piece) {
        const int is_last = inputs - i <= piece, many = is_last ? inputs - i : piece;
        const int start = i ? FROM_Y : bias ? FROM_BIAS : FROM_ZERO;
        Walk walk = {1, 0, 0, 1, 0, 0, many, 1, BLOCK, 0, 0};
        real *together = work + (end - first + BLOCK - 1) / BLOCK * BLOCK * many;
        if (kind == AS_IT_IS)
            pack_columns(b + i * outputs + first, work, many, outputs, end - first);
        for (int o = first; kind == TRANSPOSED && o < end; o += BLOCK)
            pack_rows(b + o * inputs + i, work + (o - first) * many, many, inputs,
                      outputs - o < BLOCK ? outputs - o : BLOCK);
        for (int r0 = 0; r0 < rows; r0 += ROWS) {
            const int r1 = r0 + ROWS < rows ? r0 + ROWS : rows, x_row = copies ? many : inputs;
            const real *from = copies ? together : x + r0 * inputs + i;
            if (copies)
                rows_together(x + r0 * inputs + i, together, r1 - r0, many, inputs);
            for (int o = first; o < end; o += BLOCK) {
                const int high = outputs - o < BLOCK ? outputs - o : BLOCK, most = tile_rows(high);
                const real *block = kind == IN_BLOCKS ? b + o * inputs + i * BLOCK
                                                      : work + (o - first) * many;
                int x_at[8], y_at[8];
                for (int p = 0; p < most; p++) {
                    x_at[p] = p * x_row;
                    y_at[p] = p * outputs;
                }
                if (kind == IN_BLOCKS)
                    walk.ahead = o + BLOCK < end ? block + inputs * BLOCK
                                 : is_last ? b + end * inputs : b + first * inputs + (i + piece) * BLOCK;
                walk.ahead_step = BLOCK / ((r1 - r0 - 1) / most + 1) + 1;
                for (int r = r0, used; r < r1; r += used, walk.ahead += walk.ahead_step * many) {
                    used = even_rows(r1 - r, most);
                    const real *at = from + (r - r0) * x_row, *added = bias ? bias + o : 0;
                    const real *with = skip && is_last ? skip + r * outputs + o : 0;
                    real *to = y + r * outputs + o;
                    if (kind == IN_BLOCKS)
                        tile_ahead(used, &walk, at, x_at, block, added, start, to, with, y_at, high, 0,
                                   is_last ? limits : 0);
                    else
                        tile_along(used, &walk, at, x_at, block, added, start, to, with, y_at, high, 0,
                                   is_last ? limits : 0);
                }
            }
        }
    }
}

/* In how many groups of `most` blocks at most threads share them, as many for each. */
static int groups_of(int blocks, int most)
{
    const int each = (blocks + THREADS - 1) / THREADS, few = each < 2 ? each : 2;
    const int groups = THREADS * ((each + most - 1) / most > few ? (each + most - 1) / most : few);
    return groups < blocks ? groups : blocks;
}

/* All rows and columns. Threads share groups of blocks, and parts of the rows where these are few and nothing
   is packed for them; those blocks that do not divide evenly among threads are cut by rows, so that no
   thread waits for another's whole block. */
static INLINE void shared_product(const int kind, const real *x, const real *b, const real *bias,
                                  const real *skip, real *y, real *work, int each, int rows, int inputs,
                                  int outputs, const Limits *limits)
{
    const int blocks = (outputs + BLOCK - 1) / BLOCK, cuts = THREADS, rest = blocks % cuts;
    const int even = blocks - rest, groups = groups_of(even, kind == AS_IT_IS ? WIDE : GROUP);
    const int wanted = kind == IN_BLOCKS && cuts > 1 && groups ? 8 * cuts / groups : 1;
    const int most = wanted < rows / BLOCK ? wanted : rows / BLOCK, parts = most > 1 ? most : 1;
    SHARE(item, groups * parts + rest * cuts, 1, (double)rows * inputs * outputs > PRODUCTS) {
        const int at = item - groups * parts, pieces = at < 0 ? parts : cuts;
        const int group = item / pieces, o = at < 0 ? begin_of(group, groups, even) : even + at / pieces;
        const int behind = (at < 0 ? begin_of(group + 1, groups, even) : o + 1) * BLOCK;
        const int tall = (rows - 1) / pieces + 1, r = (at < 0 ? item : at) % pieces * tall;
        product_of_rows(kind, x + r * inputs, b, bias, skip ? skip + r * outputs : 0, y + r * outputs,
                        work + THIS_THREAD * each, rows - r < tall ? rows - r : tall, inputs, outputs,
                        o * BLOCK, behind < outputs ? behind : outputs, limits);
    }
}

/* Fully connected: y[r][o] = bias[o] + sum over i of x[r][i] * weight[o][i], with blocks of 16 outputs,
   [block][input][output in the block]. `skip` and limits are those of `conv_images`. */
static void linear_rows(const real *x, const real *packed, const real *bias, const real *skip, real *y,
                        int rows, int inputs, int outputs, int is_limited, real lowest, real highest)
{
    const Limits limits = {lowest, highest};
    if (rows == 1)
        linear_row(x, packed, bias, skip, y, inputs, outputs, is_limited ? &limits : 0);
    else
        shared_product(IN_BLOCKS, x, packed, bias, skip, y, 0, 0, rows, inputs, outputs,
                       is_limited ? &limits : 0);
}

/* The same with weights that change: each thread packs those that it multiplies with, in its `each` numbers
   of `work`. */
static void linear_rows_of_new(const real *x, const real *weight, const real *bias, real *y,
                               real *work, int each, int rows, int inputs, int outputs,
                               int is_limited, real lowest, real highest)
{
    const Limits limits = {lowest, highest};
    shared_product(TRANSPOSED, x, weight, bias, 0, y, work, each, rows, inputs, outputs,
                   is_limited ? &limits : 0);
}

/* dx[r][i] = sum over o of dy[r][o] * weight[o][i]. Each thread has `each` numbers of `work`. */
static void linear_rows_backward_input(const real *dy, const real *weight, real *dx, real *work, int each,
                                       int rows, int inputs, int outputs)
{
    shared_product(AS_IT_IS, dy, weight, 0, 0, dx, work, each, rows, outputs, inputs, 0);
}

/* dweight[o][i] = sum over the rows of dy[r][o] * x[r][i]; `part` rows of x at a time are packed. */
static void linear_rows_backward_weight(const real *x, const real *dy, real *dweight, real *work, int each,
                                        int rows, int inputs, int outputs, int part)
{
    const int blocks = (inputs + BLOCK - 1) / BLOCK, groups = groups_of(blocks, WIDE);
    SHARE(group, groups, 1, (double)rows * inputs * outputs > PRODUCTS) {
        const int first = begin_of(group, groups, blocks) * BLOCK;
        const int behind = begin_of(group + 1, groups, blocks) * BLOCK;
        const int end = behind < inputs ? behind : inputs;
        real *panel = work + THIS_THREAD * each;
        int y_at[8];
        for (int p = 0; p < 8; p++)
            y_at[p] = p * inputs;
        for (int r = 0; r < rows; r += part) {
            const int many = rows - r < part ? rows - r : part;
            const Walk walk = {1, 0, 0, 1, 0, 0, many, outputs, BLOCK};
            pack_columns(x + r * inputs + first, panel, many, inputs, end - first);
            for (int o = 0, used; o < outputs; o += used) {
                used = even_rows(outputs - o, tile_rows(BLOCK));
                for (int i = first; i < end; i += BLOCK)
                    tile_across(used, &walk, dy + r * outputs + o, panel + (i - first) * many,
                                r ? FROM_Y : FROM_ZERO, dweight + o * inputs + i, y_at,
                                inputs - i < BLOCK ? inputs - i : BLOCK);
            }
        }
    }
}
