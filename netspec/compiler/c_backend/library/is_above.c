/* Whether a number takes the place of the largest so far; no number (NaN) is above all others. */
static int is_above(real number, real most)
{
    return number > most || (number != number && most == most);
}
