/* Trains @TITLE on pictures in MNIST's format, made by netspec from @WHERE.
 *
 *     cc -O2 @FILE @MAIN -lm -o train
 *     ./train train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte \
 *             t10k-labels-idx1-ubyte 3
 *
 * It writes the weights to @WEIGHTS, which netspec reads.
 */

#include <stdio.h>
#include <stdlib.h>
#include "@HEADER"

enum { SIZE = @SIZE, CLASSES = @CLASSES };

/* Reads what lies behind the first `start` bytes of a file; `count` is how much that is. */
static unsigned char *read_file(const char *path, long start, long *count)
{
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = 0;
    if (file && fseek(file, 0, SEEK_END) == 0 && (*count = ftell(file) - start) > 0) {
        bytes = (unsigned char *)malloc((size_t)*count);
        if (!bytes || fseek(file, start, SEEK_SET) != 0
            || fread(bytes, 1, (size_t)*count, file) != (size_t)*count)
            *count = 0;
    }
    if (!bytes || *count <= 0)
        fprintf(stderr, "cannot read %s\n", path), exit(1);
    fclose(file);
    return bytes;
}

static REAL parameters[NET_PARAMETERS], gradients[NET_TRAINED];
static REAL means[NET_TRAINED], squares[NET_TRAINED];

/* Writes one picture as numbers from 0 to 1. */
static void scale(const unsigned char *pixels, REAL *image)
{
    for (int i = 0; i < SIZE; i++)
        image[i] = (REAL)pixels[i] / 255;
}

int main(int argc, char **argv)
{
    static REAL images[NET_BATCH * SIZE], image[SIZE], scores[CLASSES];
    static int labels[NET_BATCH];
    long count, tests, pixels, test_pixels, step = 0;
    unsigned long state = 1;
    if (argc < 5)
        return fprintf(stderr, "usage: train IMAGES LABELS TEST_IMAGES TEST_LABELS [EPOCHS]\n"), 1;
    unsigned char *pictures = read_file(argv[1], 16, &pixels), *answers = read_file(argv[2], 8, &count);
    unsigned char *test_pictures = read_file(argv[3], 16, &test_pixels);
    unsigned char *test_answers = read_file(argv[4], 8, &tests);
    long *order = (long *)malloc((size_t)count * sizeof(long));
    if (!order || pixels / SIZE < count || test_pixels / SIZE < tests)
        return fprintf(stderr, "there are fewer pictures than labels\n"), 1;
@BEGIN
    for (long i = 0; i < count; i++) {
        if (answers[i] >= CLASSES)
            return fprintf(stderr, "there is no class %d\n", answers[i]), 1;
        order[i] = i;
    }
    for (int epoch = 1; epoch <= (argc > 5 ? atoi(argv[5]) : 3); epoch++) {
        double loss = 0;
        long right = 0;
        for (long i = count - 1; i > 0; i--) { /* shuffles */
            state = (state * 1103515245 + 12345) & 0x7fffffff;
            const long j = (long)(state % (unsigned long)(i + 1)), other = order[i];
            order[i] = order[j];
            order[j] = other;
        }
        for (long at = 0; at < count; at += NET_BATCH) {
            const int many = (int)(count - at < NET_BATCH ? count - at : NET_BATCH);
            for (int n = 0; n < many; n++) {
                scale(pictures + order[at + n] * SIZE, images + n * SIZE);
                labels[n] = answers[order[at + n]];
            }
            loss += many * (double)net_loss_and_grads(parameters, images, labels, many, gradients);
            net_adam_step(parameters, gradients, means, squares, (int)++step, (REAL)0.001);
        }
        for (long n = 0; n < tests; n++) {
            int best = 0;
            scale(test_pictures + n * SIZE, image);
            net_predict(parameters, image, scores);
            for (int c = 1; c < CLASSES; c++)
                best = scores[c] > scores[best] ? c : best;
            right += best == test_answers[n];
        }
        printf("epoch %d: loss %.4f, right %.2f %%\n", epoch, loss / (double)count,
               100 * (double)right / (double)tests);
        fflush(stdout);
    }
    free(pictures), free(answers), free(test_pictures), free(test_answers), free(order);
    return net_save(parameters, "@WEIGHTS");
}
