/* Filters weight[o][c][k][l] as [group][block of 16 filters][k][l][c][filter in the block], with zeros
   behind the last filter of a group. */
static void pack_blocks(const real *weight, real *packed, int filters, int channels, int taps, int groups)
{
    const int made = filters / groups, blocks = (made + BLOCK - 1) / BLOCK;
    SHARE(block, groups * blocks, 1, filters * channels * taps > NUMBERS) {
        const int from = block % blocks * BLOCK, high = made - from < BLOCK ? made - from : BLOCK;
        const real *first = weight + (block / blocks * made + from) * channels * taps;
        real *to = packed + block * BLOCK * channels * taps;
        for (int t = 0; t < taps; t++)
            for (int c = 0; c < channels; c++, to += BLOCK)
                for (int o = 0; o < BLOCK; o++)
                    to[o] = o < high ? first[(o * channels + c) * taps + t] : 0;
    }
}

/* The filters of the convolution that takes a gradient back: inputs and outputs exchanged, and the taps
   from the last to the first, of those that begin with (k0, l0) and lie (k_step, l_step) apart:
   weight[o][c][k][l] becomes [group][block of 16 channels][k][l][o of the group][channel in the block]. */
static void pack_blocks_back(const real *weight, real *packed, int filters, int channels, int groups,
                             int kernel_h, int kernel_w, int k0, int l0, int k_step, int l_step)
{
    const int made = filters / groups, blocks = (channels + BLOCK - 1) / BLOCK;
    const int high = k0 < kernel_h ? (kernel_h - 1 - k0) / k_step + 1 : 0;
    const int wide = l0 < kernel_w ? (kernel_w - 1 - l0) / l_step + 1 : 0;
    SHARE(block, groups * blocks, 1, filters * channels * high * wide > NUMBERS) {
        const int first = block % blocks * BLOCK;
        const real *of_group = weight + block / blocks * made * channels * kernel_h * kernel_w;
        real *to = packed + block * BLOCK * made * high * wide;
        for (int k = high - 1; k >= 0; k--)
            for (int l = wide - 1; l >= 0; l--) {
                const int tap = (k0 + k * k_step) * kernel_w + l0 + l * l_step;
                for (int o = 0; o < made; o++)
                    for (int c = first; c < first + BLOCK; c++)
                        *to++ = c < channels
                                    ? of_group[(o * channels + c) * kernel_h * kernel_w + tap] : 0;
            }
    }
}

/* Filters weight[o][c][k][l] as [block of 16 columns][o][column in the block], whose columns are (k, l, c),
   with zeros behind the last one. */
static void pack_taps_of_filters(const real *weight, real *packed, int filters, int channels, int taps)
{
    SHARE(first, taps * channels, BLOCK, filters * channels * taps > NUMBERS) {
        real *to = packed + first * filters;
        for (int o = 0; o < filters; o++)
            for (int i = first; i < first + BLOCK; i++)
                *to++ = i < taps * channels
                            ? weight[(o * channels + i % channels) * taps + i / channels] : 0;
    }
}

/* Filters weight[o][c][3][3] as Winograd's algorithm multiplies them, [block of 16][place of 36][channel]
   [filter in the block]: G * weight * the transpose of G, with zeros behind the last filter. `is_back` is
   that of `conv_winograd`. */
static void winograd_filters(const real *weight, real *packed, int filters, int channels, int is_back)
{
    static const real G[6][3] = {
        {(real)1 / 4, 0, 0}, {-(real)1 / 6, -(real)1 / 6, -(real)1 / 6},
        {-(real)1 / 6, (real)1 / 6, -(real)1 / 6}, {(real)1 / 24, (real)1 / 12, (real)1 / 6},
        {(real)1 / 24, -(real)1 / 12, (real)1 / 6}, {0, 0, 1},
    };
    const int blocks = (filters + BLOCK - 1) / BLOCK;
    SHARE(item, blocks * channels, 1, filters * channels * 36 > NUMBERS) {
        const int first = item / channels * BLOCK, c = item % channels;
        real *to = packed + (first * 36 * channels + c * BLOCK);
        real half[6][3][BLOCK];
        for (int r = 0; r < 6; r++)
            for (int l = 0; l < 3; l++)
                for (int o = 0; o < BLOCK; o++) {
                    const real *w = is_back ? weight + (c * filters + first + o) * 9 + 8 - l
                                            : weight + ((first + o) * channels + c) * 9 + l;
                    const int next = is_back ? -3 : 3;
                    half[r][l][o] = first + o < filters
                                        ? G[r][0] * w[0] + G[r][1] * w[next] + G[r][2] * w[2 * next] : 0;
                }
        for (int r = 0; r < 6; r++)
            for (int s = 0; s < 6; s++)
                for (int o = 0; o < BLOCK; o++)
                    to[(r * 6 + s) * channels * BLOCK + o] = G[s][0] * half[r][0][o]
                                                             + G[s][1] * half[r][1][o]
                                                             + G[s][2] * half[r][2][o];
    }
}
