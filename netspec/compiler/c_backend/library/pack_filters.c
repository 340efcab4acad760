/* Filters weight[o][c][tap] in the order in which `conv` and `linear` read them: [group][block of 8
   filters][tap][c][filter in the block], with zeros behind the last filter of a group. */
static void pack_filters(const real *weight, real *packed,
                         int filters, int channels, int taps, int groups)
{
    const int made = filters / groups;
    for (int g = 0; g < groups; g++)
        for (int b = 0; b < made; b += 8)
            for (int t = 0; t < taps; t++)
                for (int c = 0; c < channels; c++)
                    for (int o = b; o < b + 8; o++) {
                        const int at = ((g * made + o) * channels + c) * taps + t;
                        *packed++ = o < made ? weight[at] : 0;
                    }
}

/* The filters of the convolution that takes a gradient back: inputs and outputs exchanged, and the taps
   from the last to the first. weight[o][c][tap] becomes [group][block of 8 channels][tap][o of the
   group][channel in the block]. */
static void pack_filters_back(const real *weight, real *packed,
                              int filters, int channels, int taps, int groups)
{
    const int made = filters / groups;
    for (int g = 0; g < groups; g++)
        for (int b = 0; b < channels; b += 8)
            for (int t = taps - 1; t >= 0; t--)
                for (int o = 0; o < made; o++)
                    for (int c = b; c < b + 8; c++) {
                        const int at = ((g * made + o) * channels + c) * taps + t;
                        *packed++ = c < channels ? weight[at] : 0;
                    }
}
