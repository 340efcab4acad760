/* A vector for each place, with 1 there and 0 elsewhere. */
static void one_hot(const real *places, real *y, int count, int classes)
{
    for (int n = 0; n < count; n++, y += classes) {
        for (int c = 0; c < classes; c++)
            y[c] = 0;
        y[place(places[n], classes)] = 1;
    }
}
