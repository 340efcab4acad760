/* Filters weight[o][c][k][l] as [group][block of 16 filters][k][l][c][filter in the block], with zeros
   behind the last filter of a group. */
static void pack_blocks(const real *weight, real *packed, int filters, int channels, int taps, int groups)
{
    const int made = filters / groups, blocks = (made + BLOCK - 1) / BLOCK;
    PARALLEL_IF(filters * channels * taps > NUMBERS)
    for (int block = 0; block < groups * blocks; block++) {
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
    PARALLEL_IF(filters * channels * high * wide > NUMBERS)
    for (int block = 0; block < groups * blocks; block++) {
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
    PARALLEL_IF(filters * channels * taps > NUMBERS)
    for (int first = 0; first < taps * channels; first += BLOCK) {
        real *to = packed + first * filters;
        for (int o = 0; o < filters; o++)
            for (int i = first; i < first + BLOCK; i++)
                *to++ = i < taps * channels
                            ? weight[(o * channels + i % channels) * taps + i / channels] : 0;
    }
}
