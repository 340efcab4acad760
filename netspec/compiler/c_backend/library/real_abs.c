/* The absolute value. */
static real real_abs(real x)
{
    return x < 0 ? -x : x + 0;
}
