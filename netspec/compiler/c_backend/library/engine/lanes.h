/* Vectors of numbers: an extension of GCC and Clang. For another compiler they have one number. */
#if defined(__GNUC__) && !defined(NO_VECTORS)
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
typedef real Vector __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), __may_alias__));
typedef __typeof__((Vector){0} < (Vector){0}) Mask;
#define INLINE inline __attribute__((always_inline))
#define CHOSEN(where, a, b) ((Vector)(((where) & (Mask)(a)) | (~(where) & (Mask)(b))))
#else
#define VECTOR_BYTES sizeof(real)
typedef real Vector;
typedef int Mask;
#define INLINE inline
#define CHOSEN(where, a, b) ((where) ? (a) : (b))
#endif
/* Filters are stored in blocks, with zeros behind the last one of a group. */
enum { LANES = VECTOR_BYTES / sizeof(real), BLOCK = 16 };
#define AT(pointer) (*(Vector *)(pointer))
#define READ(pointer) (*(const Vector *)(pointer))

/* Begins to load what is read later. */
#ifdef __GNUC__
#define FETCH(pointer) __builtin_prefetch(pointer)
#else
#define FETCH(pointer) (void)0
#endif

/* What a product over rows has at hand: some blocks of columns, more of them where rows of a matrix are
   cut, and so many terms of their sums, which leave one block in the smallest cache; and as many terms of
   some rows. */
enum { GROUP = 4, WIDE = 16, ROWS = 128 };
#ifndef PIECE
#define PIECE 256
#endif

/* Threads share a loop of more products than these, or of more numbers; for less one of them is as fast. */
#ifndef PRODUCTS
#define PRODUCTS (1 << 17)
#define NUMBERS (1 << 14)
#endif
/* Loops that are as fast turn by turn: without this their few turns would have a copy each. */
#if defined(__GNUC__) && !defined(__clang__)
#define ROLLED _Pragma("GCC unroll 1")
#else
#define ROLLED
#endif
/* Loops whose turns do not read what other turns write. */
#if defined(__clang__)
#define APART _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define APART _Pragma("GCC ivdep")
#else
#define APART
#endif

/* The first numbers of a vector; the others are 0. */
static INLINE Vector some_lanes(const real *from, int count)
{
    real all[LANES] = {0};
    for (int o = 0; o < LANES && o < count; o++)
        all[o] = from[o];
    return READ(all);
}

/* Writes the first numbers of a vector. */
static INLINE void put_lanes(Vector all, real *to, int count)
{
    real each[LANES];
    AT(each) = all;
    for (int o = 0; o < LANES && o < count; o++)
        to[o] = each[o];
}

/* What numbers are kept within before they are written; a NaN stays. */
typedef struct {
    real lowest, highest;
} Limits;

static INLINE Vector limited(Vector sums, const Limits *limits)
{
    const Vector lowest = (Vector){0} + limits->lowest, highest = (Vector){0} + limits->highest;
    const Vector above = CHOSEN(sums < lowest, lowest, sums);
    return CHOSEN(above > highest, highest, above);
}

/* As many numbers as a vector has, or the first of them. */
static INLINE Vector lanes_of(const real *from, int high)
{
    return high >= LANES ? READ(from) : some_lanes(from, high);
}

/* Writes a vector, or the first of its numbers. */
static INLINE void write_lanes(Vector all, real *to, int high)
{
    if (high >= LANES)
        AT(to) = all;
    else
        put_lanes(all, to, high);
}
