/* Attention of `heads` heads: y = softmax(q k^T / sqrt(width) + bias) v, with q [queries][width],
   k [keys][width], v [keys][v_width] for each head, and bias [queries][keys] or none, `biases` of them
   for runs of as many heads. So is mask [mask_rows][keys], 0 where a key is hidden, with one row for
   all queries or one for each; a query that sees no key gets zeros. If causal, a query sees the keys
   up to its own place. `shares` holds `keys` numbers in between. */
static void attention(const real *q, const real *k, const real *v, const real *bias,
                      const real *mask, real *y, real *shares,
                      int heads, int queries, int keys, int width, int v_width,
                      int biases, int masks, int mask_rows, int causal)
{
    const real scale = 1 / real_sqrt((real)width);
    for (int h = 0; h < heads; h++, k += keys * width, v += keys * v_width)
        for (int t = 0; t < queries; t++, q += width, y += v_width) {
            const int seen = causal && t + 1 < keys ? t + 1 : keys;
            const real *added = bias ? bias + (h * biases / heads * queries + t) * keys : 0;
            const real *shown =
                mask ? mask + (h * masks / heads * mask_rows + t % mask_rows) * keys : 0;
            int any = 0;
            for (int s = 0; s < seen; s++) {
                real dot = 0;
                if (shown && !(shown[s] > 0)) {
                    shares[s] = -INFINITY;
                    continue;
                }
                any = 1;
                for (int i = 0; i < width; i++)
                    dot += q[i] * k[s * width + i];
                shares[s] = dot * scale + (added ? added[s] : 0);
            }
            for (int i = 0; i < v_width; i++)
                y[i] = 0;
            if (!any)
                continue;
            softmax(shares, shares, 1, seen, 1);
            for (int s = 0; s < seen; s++)
                for (int i = 0; i < v_width; i++)
                    y[i] += shares[s] * v[s * v_width + i];
        }
}
