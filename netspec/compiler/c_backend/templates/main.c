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

static net_real parameters[NET_PARAMETERS], gradients[NET_TRAINED];
static net_real means[NET_TRAINED], squares[NET_TRAINED]; /* of the gradients, for Adam */
static net_real images[NET_BATCH * NET_PIXELS], scores[NET_CLASSES];
static int labels[NET_BATCH];

int main(int argc, char **argv)
{
    if (argc < 5)
        return fprintf(stderr, "usage: train IMAGES LABELS TEST_IMAGES TEST_LABELS [EPOCHS]\n"), 1;
    const int epochs = argc > 5 ? atoi(argv[5]) : 3;
    const int count = net_count_pictures(argv[1], argv[2]);
    const int tests = net_count_pictures(argv[3], argv[4]);
    int *order = count > 0 && tests > 0 ? (int *)malloc((size_t)count * sizeof(int)) : 0;
    if (!order)
        return fprintf(stderr, "there are no pictures of %d bytes with labels\n", NET_PIXELS), 1;
    unsigned long state = 1;
    for (int i = 0; i < count; i++)
        order[i] = i;
@BEGIN
    for (int epoch = 1, step = 1; epoch <= epochs; epoch++) {
        double loss = 0, right = 0;
        net_shuffle(order, count, &state);
        for (int at = 0; at < count; at += NET_BATCH) {
            const int many = count - at < NET_BATCH ? count - at : NET_BATCH;
            if (net_read_pictures(argv[1], argv[2], order + at, many, images, labels))
                return fprintf(stderr, "cannot read a batch of %s\n", argv[1]), 1;
            loss += many * (double)net_loss_and_grads(parameters, images, labels, many, gradients);
            net_adam_step(parameters, gradients, means, squares, step++, (net_real)0.001);
        }
        for (int n = 0; n < tests; n++) {
            int best = 0;
            if (net_read_pictures(argv[3], argv[4], &n, 1, images, labels))
                return fprintf(stderr, "cannot read a picture of %s\n", argv[3]), 1;
            net_predict(parameters, images, scores);
            for (int c = 1; c < NET_CLASSES; c++)
                best = scores[c] > scores[best] ? c : best;
            right += best == labels[0];
        }
        printf("epoch %d: loss %.4f, right %.2f %%\n", epoch, loss / count, 100 * right / tests);
        fflush(stdout);
    }
    free(order);
    return net_save(parameters, "@WEIGHTS");
}
