/* Brings numbers in a random order; `state`, which is not 0, goes on from call to call. (Xorshift by George
   Marsaglia, 2003.) */
void net_shuffle(int *order, int count, unsigned long *state)
{
    for (int i = count - 1; i > 0; i--) {
        *state ^= *state << 13 & 0xffffffff;
        *state ^= *state >> 17;
        *state ^= *state << 5 & 0xffffffff;
        const int j = (int)(*state % (unsigned long)(i + 1)), other = order[i];
        order[i] = order[j];
        order[j] = other;
    }
}

#ifndef NET_WITHOUT_FILES
#include <stdio.h>

/* Reads the front of a file in MNIST's format, whose items have `size` bytes each: the bytes are next.
   Returns how many items there are, -1 if it is no such file. */
static long read_front(FILE *file, unsigned long size)
{
    unsigned char four[4] = {1, 0, 0, 0};
    unsigned long count = 0, each = 1, extent = 0;
    if (!file || fread(four, 1, 4, file) != 4 || four[0] || four[1] || four[2] != 8)
        return -1;
    for (int i = 0, axes = four[3]; i < axes; i++) {
        if (fread(four, 1, 4, file) != 4)
            return -1;
        extent = (unsigned long)four[0] << 24 | (unsigned long)four[1] << 16
                 | (unsigned long)four[2] << 8 | four[3];
        if (extent > (i == 0 ? 0x7fffffff / size : size / each))
            return -1;
        count = i == 0 ? extent : count;
        each *= i == 0 ? 1 : extent;
        if (each == 0)
            return -1;
    }
    return each == size ? (long)count : -1;
}

/* Returns how many pictures with labels there are in two files in MNIST's format; -1 if they are others. */
int net_count_pictures(const char *pictures, const char *labels)
{
    FILE *items = fopen(pictures, "rb"), *answers = fopen(labels, "rb");
    const long count = read_front(items, NET_PIXELS), known = read_front(answers, 1);
    if (items)
        fclose(items);
    if (answers)
        fclose(answers);
    return count == known ? (int)count : -1;
}

/* Reads the pictures with these numbers from files in MNIST's format, as numbers from 0 to 1, and their
   labels. Returns 0 if that worked. */
int net_read_pictures(const char *pictures, const char *labels, const int *which, int count,
                      net_real *images, int *answers)
{
    FILE *from = fopen(pictures, "rb"), *known = fopen(labels, "rb");
    int failed = read_front(from, NET_PIXELS) < 0 || read_front(known, 1) < 0;
    const long start = failed ? 0 : ftell(from), first = failed ? 0 : ftell(known);
    for (int n = 0; n < count && !failed; n++) {
        failed = fseek(from, start + (long)which[n] * NET_PIXELS, SEEK_SET)
                 || fseek(known, first + which[n], SEEK_SET);
        answers[n] = failed ? EOF : getc(known);
        failed = failed || answers[n] == EOF || answers[n] >= NET_CLASSES;
        for (int i = 0; i < NET_PIXELS && !failed; i++) {
            const int pixel = getc(from);
            failed = pixel == EOF;
            images[n * NET_PIXELS + i] = (net_real)pixel / 255;
        }
    }
    if (from)
        fclose(from);
    if (known)
        fclose(known);
    return failed;
}
#endif
