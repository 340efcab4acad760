/* The smaller of two numbers; no number (NaN) if one of them is none. */
static real smaller(real a, real b)
{
    return a <= b || a != a ? a : b;
}
