/* The high half of the product of two numbers of 64 bits. */
static uint64_t multiply_high(uint64_t a, uint64_t b)
{
    const uint64_t low = (a & 0xffffffff) * (b & 0xffffffff);
    const uint64_t one = (a >> 32) * (b & 0xffffffff) + (low >> 32);
    const uint64_t two = (a & 0xffffffff) * (b >> 32) + (one & 0xffffffff);
    return (a >> 32) * (b >> 32) + (one >> 32) + (two >> 32);
}

/* 32 random bits of PCG64 (O'Neill 2014), NumPy's generator: state = state * factor + step in 128 bits,
   of which 64 are mixed; their low half comes first. */
static uint32_t random_bits(void)
{
    static const uint64_t high = 2549297995355413924u, low = 4865540595714422341u;
    static uint32_t rest;
    static int has_rest;
    has_rest = !has_rest;
    if (!has_rest)
        return rest;
    const uint64_t before = random_state[1] * low;
    const uint64_t carried = multiply_high(random_state[1], low);
    random_state[0] = random_state[0] * low + random_state[1] * high + carried + random_step[0];
    random_state[1] = before + random_step[1];
    random_state[0] += random_state[1] < before;
    const uint64_t mixed = random_state[0] ^ random_state[1];
    const int turn = (int)(random_state[0] >> 58);
    const uint64_t bits = turn ? mixed >> turn | mixed << (64 - turn) : mixed;
    rest = (uint32_t)(bits >> 32);
    return (uint32_t)(bits & 0xffffffff);
}

/* A random number from 0 to 1, of 24 bits. */
static float random_share(void)
{
    return (float)(random_bits() >> 8) / 16777216.0f;
}

/* What dropout leaves: 0 with probability p, and 1 / (1 - p) otherwise. */
static void sample_mask(real *mask, int count, real p)
{
    for (int i = 0; i < count; i++)
        mask[i] = random_share() >= (float)p ? 1 / (1 - p) : 0;
}

/* Standard normal numbers, two at a time (Box and Muller 1958). */
static void sample_normal(real *y, int count)
{
    for (int i = 0; i < count; i += 2) {
        const real size = real_sqrt(-2 * real_log(1 - (real)random_share()));
        const real angle = (real)6.283185307179586 * (real)random_share();
        y[i] = size * real_cos(angle);
        if (i + 1 < count)
            y[i + 1] = size * real_sin(angle);
    }
}
