/* The shares of one query: softmax(q k^T / sqrt(width) + bias) over the keys, of which it sees the
   first `seen`, and of these those that the mask does not hide with a 0. All are 0 if it sees none. */
static void attention_shares(const real *q, const real *k, const real *bias, const real *mask,
                             real *shares,
                             int keys, int width, int seen)
{
    const real scale = 1 / real_sqrt((real)width);
    int any = 0;
    for (int s = 0; s < keys; s++) {
        real dot = 0;
        if (s >= seen || (mask && !(mask[s] > 0))) {
            shares[s] = (real)-INFINITY;
            continue;
        }
        any = 1;
        for (int i = 0; i < width; i++)
            dot += q[i] * k[s * width + i];
        shares[s] = dot * scale + (bias ? bias[s] : 0);
    }
    if (any)
        softmax(shares, shares, 1, keys, 1);
    for (int s = 0; s < keys && !any; s++)
        shares[s] = 0;
}

/* Attention of `heads` heads: y = softmax(q k^T / sqrt(width) + bias) v, with q [queries][width],
   k [keys][width], v [keys][v_width] for each head, and bias [queries][keys] or none, `biases` of them
   for runs of as many heads. So is mask [mask_rows][keys], 0 where a key is hidden, with one row for
   all queries or one for each; a query that sees no key gets zeros. If causal, a query sees the keys
   up to its own place. `kept` is what dropout leaves of the shares, or none. `shares` holds `keys`
   numbers in between. */
static void attention(const real *q, const real *k, const real *v, const real *bias,
                      const real *mask, const real *kept, real *y, real *shares,
                      int heads, int queries, int keys, int width, int v_width,
                      int biases, int masks, int mask_rows, int causal)
{
    for (int h = 0; h < heads; h++, k += keys * width, v += keys * v_width)
        for (int t = 0; t < queries; t++, q += width, y += v_width) {
            attention_shares(q, k, bias ? bias + (h * biases / heads * queries + t) * keys : 0,
                             mask ? mask + (h * masks / heads * mask_rows + t % mask_rows) * keys : 0,
                             shares, keys, width, causal && t + 1 < keys ? t + 1 : keys);
            for (int s = 0; kept && s < keys; s++)
                shares[s] *= kept[(h * queries + t) * keys + s];
            for (int i = 0; i < v_width; i++)
                y[i] = 0;
            for (int s = 0; s < keys; s++)
                for (int i = 0; i < v_width; i++)
                    y[i] += shares[s] * v[s * v_width + i];
        }
}
