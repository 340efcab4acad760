/* da = dy b^T, for each of `count` products, with dy [rows][columns] and b [inner][columns]. */
static void matmul_backward_left(const real *dy, const real *b, real *da,
                                 int count, int rows, int inner, int columns)
{
    for (int n = 0; n < count; n++, b += inner * columns)
        for (int r = 0; r < rows; r++, dy += columns, da += inner)
            for (int i = 0; i < inner; i++) {
                real sum = 0;
                for (int c = 0; c < columns; c++)
                    sum += dy[c] * b[i * columns + c];
                da[i] = sum;
            }
}

/* db = a^T dy, with a [rows][inner]. */
static void matmul_backward_right(const real *a, const real *dy, real *db,
                                  int count, int rows, int inner, int columns)
{
    for (int n = 0; n < count; n++, db += inner * columns) {
        for (int i = 0; i < inner * columns; i++)
            db[i] = 0;
        for (int r = 0; r < rows; r++, a += inner, dy += columns)
            for (int i = 0; i < inner; i++)
                for (int c = 0; c < columns; c++)
                    db[i * columns + c] += a[i] * dy[c];
    }
}
