/* weight[o][c][tap] as [o][tap][c], so that what is read together lies together. */
static void pack_taps(const real *weight, real *packed, int filters, int channels, int taps)
{
    for (int o = 0; o < filters; o++, weight += channels * taps, packed += channels * taps)
        transpose(weight, packed, channels, taps);
}
