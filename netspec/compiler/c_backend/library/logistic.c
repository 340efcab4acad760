/* 1 / (1 + exp(-x)) */
static real logistic(real x)
{
    return 1 / (1 + real_exp(-x));
}
