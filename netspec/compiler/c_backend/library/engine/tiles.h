/* Tiles of a product of matrices. Every net has the same, so that they are compiled once, apart from it:
   they take most of a compiler's time. */
#ifdef __GNUC__
#define HIDDEN __attribute__((visibility("hidden")))
#else
#define HIDDEN
#endif
typedef struct {
    int rows, a_row, b_row, columns, a_column, b_column, count, a_next, b_next;
    /* What is read behind a walk of one row and column: each turn fetches so many numbers more. */
    int ahead_step;
    const real *ahead;
} Walk;
enum { ACROSS, ALONG, AHEAD };
enum { FROM_ZERO, FROM_BIAS, FROM_Y };
/* The rows of a tile at most, for so many vectors. */
#define MOST_ROWS(V) ((V) == 2 ? 6 : 8)
HIDDEN void wide_tile_along(int rows, const Walk *walk,
                           const real *a, const int *a_at, const real *b, const real *bias, int start,
                           real *y, const real *skip, const int *y_at, int high, int spill,
                           const Limits *limits);
HIDDEN void wide_tile_ahead(int rows, const Walk *walk,
                           const real *a, const int *a_at, const real *b, const real *bias, int start,
                           real *y, const real *skip, const int *y_at, int high, int spill,
                           const Limits *limits);
HIDDEN void wide_tile_across(int rows, const Walk *walk,
                            const real *a, const real *b, int start,
                            real *y, const int *y_at, int high);
HIDDEN void wide_tile_beside(int rows, const Walk *walk,
                            const real *a, const real *b, const real *bias, int start,
                            real *y, const real *skip, const int *y_at, int high, int spill,
                            const Limits *limits);
HIDDEN void narrow_tile_along(int rows, const Walk *walk,
                           const real *a, const int *a_at, const real *b, const real *bias, int start,
                           real *y, const real *skip, const int *y_at, int high, int spill,
                           const Limits *limits);
HIDDEN void narrow_tile_ahead(int rows, const Walk *walk,
                           const real *a, const int *a_at, const real *b, const real *bias, int start,
                           real *y, const real *skip, const int *y_at, int high, int spill,
                           const Limits *limits);
HIDDEN void narrow_tile_across(int rows, const Walk *walk,
                            const real *a, const real *b, int start,
                            real *y, const int *y_at, int high);
HIDDEN void narrow_tile_beside(int rows, const Walk *walk,
                            const real *a, const real *b, const real *bias, int start,
                            real *y, const real *skip, const int *y_at, int high, int spill,
                            const Limits *limits);
/* Winograd's algorithm F(4 x 4, 3 x 3) (Lavin and Gray 2016): 16 outputs of a filter of nine taps from 36
   products for each channel. The parts of x that make a tile of outputs are transformed to
   v[place of 36][tile][channel], and multiplied with filters u[place][channel][filter in the block] to
   m[place][tile][filter in the block]. Places of v lie `v_place` apart, those of m `m_place`. */

/* A tile of v, from six rows of x whose places lie `step` apart; those from `first` to before `end` are in
   the picture. */
HIDDEN void winograd_from(const real *const *rows, int step, int first, int end, int channels,
                          real *v, int place);
HIDDEN void winograd_products(const real *v, const real *u, real *m, int tiles, int channels,
                              int v_row, int v_place, int m_place);
/* `tall` x `wide` outputs, of `high` filters, of a tile of m. Returns whether all are finite. */
HIDDEN int winograd_to(const real *m, int place, const real *bias, const real *skip, real *y,
                       int y_row, int y_step, int tall, int wide, int high, const Limits *limits);
/* What the gradients of a tile of outputs are for its sums m[place][filter], of which as many are written as
   are whole vectors. */
HIDDEN void winograd_slopes(const real *dy, int y_row, int y_step, int tall, int wide, int filters,
                            real *m, int place);
/* Places of a row of a convolution with one filter for each channel, which all see `rows` x `taps` places:

       y[p][c] = bias[c] + sum over k, l of x[k * x_row + l * x_tap + p * x_next + c]
                                            * weight[k * weight_row + l * channels + c] */
typedef struct {
    int rows, x_row, weight_row, taps, x_tap, x_next, channels;
} DepthwiseWalk;
HIDDEN void depthwise_places(int places, const DepthwiseWalk *walk, const real *x, const real *weight,
                             const real *bias, const real *skip, real *y, const Limits *limits);
