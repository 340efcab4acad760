/* A place given as a number, as a whole one from 0 to count - 1; no number (NaN) counts as 0. */
static int place(real number, int count)
{
    if (!(number > 0))
        return 0;
    return number >= (real)(count - 1) ? count - 1 : (int)number;
}
