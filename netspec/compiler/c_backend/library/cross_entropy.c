/* The mean of -log(softmax(scores)[label]) over the images, and its gradient. */
static real cross_entropy(const real *scores, const int *labels, real *dscores,
                          int images, int classes)
{
    real loss = 0;
    for (int n = 0; n < images; n++, scores += classes, dscores += classes) {
        softmax(scores, dscores, 1, classes, 1);
        real most = scores[0], sum = 0;
        for (int c = 1; c < classes; c++)
            most = larger(most, scores[c]);
        for (int c = 0; c < classes; c++)
            sum += real_exp(scores[c] - most);
        loss += real_log(sum) + most - scores[labels[n]];
        dscores[labels[n]] -= 1;
        for (int c = 0; c < classes; c++)
            dscores[c] /= (real)images;
    }
    return loss / (real)images;
}
