/* `P` places of up to one vector of channels, for T taps in a row, or as many as the walk has if T is 0. */
static INLINE void depthwise_tile(const int P, const int T, const int whole, const DepthwiseWalk *walk,
                                  const real *x, const real *weight, const real *bias, const real *skip,
                                  real *y, int high, const Limits *limits)
{
    const int lanes = whole ? LANES : high, channels = walk->channels, taps = T ? T : walk->taps;
    const Vector added = bias ? lanes_of(bias, lanes) : (Vector){0};
    Vector sums[8];
    for (int p = 0; p < P; p++)
        sums[p] = added;
    for (int k = 0; k < walk->rows; k++)
        for (int l = 0; l < taps; l++) {
            const real *from = x + k * walk->x_row + l * walk->x_tap;
            const Vector with = lanes_of(weight + k * walk->weight_row + l * channels, lanes);
            for (int p = 0; p < P; p++)
                sums[p] += lanes_of(from + p * walk->x_next, lanes) * with;
        }
    for (int p = 0; p < P; p++) {
        if (skip)
            sums[p] += lanes_of(skip + p * channels, lanes);
        if (limits)
            sums[p] = limited(sums[p], limits);
        write_lanes(sums[p], y + p * channels, lanes);
    }
}

#define OF_TAPS(P, T) \
    for (; c + LANES <= walk->channels; c += LANES) \
        depthwise_tile(P, T, 1, walk, x + c, weight + c, bias ? bias + c : 0, skip ? skip + c : 0, y + c, \
                       LANES, limits);
#define PLACES(P) \
    for (; places >= P; places -= P, x += P * walk->x_next, y += P * walk->channels) { \
        int c = 0; \
        if (walk->taps == 3) { \
            OF_TAPS(P, 3) \
        } else { \
            OF_TAPS(P, 0) \
        } \
        if (c < walk->channels) \
            depthwise_tile(P, 0, 0, walk, x + c, weight + c, bias ? bias + c : 0, skip ? skip + c : 0, \
                           y + c, walk->channels - c, limits); \
        skip = skip ? skip + P * walk->channels : 0; \
    }
void depthwise_places(int places, const DepthwiseWalk *walk, const real *x, const real *weight,
                      const real *bias, const real *skip, real *y, const Limits *limits)
{
    PLACES(8)
    PLACES(4)
    PLACES(1)
}
