/* The number of labels that count: those of -100 do not. */
static int counted_labels(const int *labels, int count)
{
    int counted = 0;
    for (int n = 0; n < count; n++)
        counted += labels[n] >= 0;
    return counted > 0 ? counted : 1;
}

/* The mean of -log(softmax(scores)[label]) over the places, and its gradient. Scores are
   [outer][classes][inner], with a label for each place [outer][inner]. With smoothing, the classes share
   that much of the target. */
static real cross_entropy(const real *scores, const int *labels, real *dscores,
                          int outer, int classes, int inner, real smoothing)
{
    const real counted = (real)counted_labels(labels, outer * inner);
    double loss = 0;
    for (int n = 0; n < outer * inner; n++) {
        const int first = n / inner * classes * inner + n % inner;
        real most = scores[first], sum = 0, mean = 0;
        for (int c = 1; c < classes; c++)
            most = larger(most, scores[first + c * inner]);
        for (int c = 0; c < classes; c++) {
            const real shifted = scores[first + c * inner] - most;
            mean += shifted / (real)classes;
            dscores[first + c * inner] = real_exp(shifted);
            sum += dscores[first + c * inner];
        }
        if (labels[n] >= 0) {
            const real right = scores[first + labels[n] * inner] - most;
            loss += (double)(real_log(sum) - (1 - smoothing) * right - smoothing * mean);
        }
        for (int c = 0; c < classes; c++) {
            const real target = (c == labels[n] ? 1 - smoothing : 0) + smoothing / (real)classes;
            real *d = dscores + first + c * inner;
            *d = labels[n] >= 0 ? (*d / sum - target) / counted : 0;
        }
    }
    return (real)(loss / (double)counted);
}

/* The multiclass support vector machine's loss: the mean over the places of the sum over the other
   classes of max(0, score - score of the label + delta). Shapes as above. */
static real hinge_loss(const real *scores, const int *labels, real *dscores,
                       int outer, int classes, int inner, real delta)
{
    const real counted = (real)counted_labels(labels, outer * inner);
    double loss = 0;
    for (int n = 0; n < outer * inner; n++) {
        const int first = n / inner * classes * inner + n % inner, label = labels[n];
        real wrong = 0;
        for (int c = 0; c < classes; c++) {
            const real right = label >= 0 ? scores[first + label * inner] : 0;
            const real margin = scores[first + c * inner] - right + delta;
            const int counts = label >= 0 && c != label && margin > 0;
            dscores[first + c * inner] = counts ? 1 / counted : 0;
            wrong += (real)counts;
            loss += counts ? (double)margin : 0;
        }
        if (label >= 0)
            dscores[first + label * inner] = -wrong / counted;
    }
    return (real)(loss / (double)counted);
}

/* The mean of (score - target)^2 over the places and classes, where the target of the label is 1 and
   those of the others are 0. Shapes as above. */
static real squared_error(const real *scores, const int *labels, real *dscores,
                          int outer, int classes, int inner)
{
    const real counted = (real)(counted_labels(labels, outer * inner) * classes);
    double loss = 0;
    for (int n = 0; n < outer * inner; n++)
        for (int c = 0; c < classes; c++) {
            const int at = n / inner * classes * inner + n % inner + c * inner;
            const real d = labels[n] >= 0 ? scores[at] - (real)(c == labels[n]) : 0;
            loss += (double)(d * d);
            dscores[at] = 2 * d / counted;
        }
    return (real)(loss / (double)counted);
}

/* The mean over the places and classes of d^2 / (2 beta) where |d| < beta, and |d| - beta / 2 elsewhere, of
   d = score - target as above. Shapes as above. */
static real smooth_error(const real *scores, const int *labels, real *dscores,
                         int outer, int classes, int inner, real beta)
{
    const real counted = (real)(counted_labels(labels, outer * inner) * classes);
    double loss = 0;
    for (int n = 0; n < outer * inner; n++)
        for (int c = 0; c < classes; c++) {
            const int at = n / inner * classes * inner + n % inner + c * inner;
            const real d = labels[n] >= 0 ? scores[at] - (real)(c == labels[n]) : 0;
            const real far = real_abs(d);
            loss += (double)(far < beta ? d * d / (2 * beta) : far - beta / 2);
            dscores[at] = (far < beta ? d / beta : d > 0 ? (real)1 : (real)-1) / counted;
        }
    return (real)(loss / (double)counted);
}

/* The mean of the cross-entropies of sigmoid(score) and a label of its own, 0 or 1. */
static real binary_cross_entropy(const real *scores, const int *labels, real *dscores, int count)
{
    const real counted = (real)counted_labels(labels, count);
    double loss = 0;
    for (int n = 0; n < count; n++) {
        const real z = scores[n], target = (real)labels[n], small = real_exp(-real_abs(z));
        const real share = (z >= 0 ? 1 : small) / (1 + small);
        if (labels[n] >= 0)
            loss += (double)((z > 0 ? z : 0) - z * target + real_log1p(small));
        dscores[n] = labels[n] >= 0 ? (share - target) / counted : 0;
    }
    return (real)(loss / (double)counted);
}

/* The mean of the scores, which are a loss themselves. */
static real mean_score(const real *scores, real *dscores, int count)
{
    double sum = 0;
    for (int n = 0; n < count; n++) {
        sum += (double)scores[n];
        dscores[n] = 1 / (real)count;
    }
    return (real)(sum / (double)count);
}
