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
