/* Tiles of a product of matrices. Every net has the same, so that they are compiled once, apart from it:
   they take most of a compiler's time. */
#ifdef __GNUC__
#define HIDDEN __attribute__((visibility("hidden")))
#else
#define HIDDEN
#endif
typedef struct {
    int rows, a_row, b_row, columns, a_column, b_column, count, a_next, b_next;
} Walk;
enum { FROM_ZERO, FROM_BIAS, FROM_Y };
/* The rows of a tile at most, for so many vectors. */
#define MOST_ROWS(V) ((V) == 2 ? 6 : 8)
HIDDEN void wide_tile_along(int rows, const Walk *walk,
                            const real *a, const int *a_at, const real *b, const real *bias, int start,
                            real *y, const int *y_at, int high, int spill);
HIDDEN void narrow_tile_along(int rows, const Walk *walk,
                              const real *a, const int *a_at, const real *b, const real *bias, int start,
                              real *y, const int *y_at, int high, int spill);
HIDDEN void wide_tile_across(int rows, const Walk *walk,
                             const real *a, const real *b, int start,
                             real *y, const int *y_at, int high);
HIDDEN void narrow_tile_across(int rows, const Walk *walk,
                               const real *a, const real *b, int start,
                               real *y, const int *y_at, int high);
HIDDEN void wide_tile_beside(int rows, const Walk *walk, const real *a, const real *b, const real *bias,
                             int start, real *y, const int *y_at, int high, int spill);
HIDDEN void narrow_tile_beside(int rows, const Walk *walk, const real *a, const real *b, const real *bias,
                               int start, real *y, const int *y_at, int high, int spill);
