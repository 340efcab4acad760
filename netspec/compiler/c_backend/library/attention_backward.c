/* The gradients of `attention`, each of which may be 0 for none: with dp = dy v^T * kept and
   ds = p * (dp - sum of dp * p over the keys): dq = ds k / sqrt(width), dk = ds^T q / sqrt(width),
   dv = (p * kept)^T dy, dbias = ds [heads][queries][keys]. `shares` and `slopes` hold `keys` numbers
   in between. */
static void attention_backward(const real *q, const real *k, const real *v, const real *bias,
                               const real *mask, const real *kept, const real *dy,
                               real *dq, real *dk, real *dv, real *dbias, real *shares, real *slopes,
                               int heads, int queries, int keys, int width, int v_width,
                               int biases, int masks, int mask_rows, int causal)
{
    const real scale = 1 / real_sqrt((real)width);
    for (int i = 0; dk && i < heads * keys * width; i++)
        dk[i] = 0;
    for (int i = 0; dv && i < heads * keys * v_width; i++)
        dv[i] = 0;
    for (int h = 0; h < heads; h++)
        for (int t = 0; t < queries; t++) {
            const int row = h * queries + t;
            const real *query = q + row * width, *slope = dy + row * v_width;
            const real *held = kept ? kept + row * keys : 0;
            real sum = 0;
            attention_shares(query, k + h * keys * width,
                             bias ? bias + (h * biases / heads * queries + t) * keys : 0,
                             mask ? mask + (h * masks / heads * mask_rows + t % mask_rows) * keys : 0,
                             shares, keys, width, causal && t + 1 < keys ? t + 1 : keys);
            for (int s = 0; s < keys; s++) {
                const int at = h * keys + s;
                real dot = 0;
                for (int i = 0; i < v_width; i++) {
                    dot += slope[i] * v[at * v_width + i];
                    if (dv)
                        dv[at * v_width + i] += shares[s] * (held ? held[s] : 1) * slope[i];
                }
                slopes[s] = dot * (held ? held[s] : 1) * shares[s];
                sum += slopes[s];
            }
            for (int i = 0; dq && i < width; i++)
                dq[row * width + i] = 0;
            for (int s = 0; s < keys; s++) {
                const int at = h * keys + s;
                const real ds = slopes[s] - shares[s] * sum;
                if (dbias)
                    dbias[row * keys + s] = ds;
                for (int i = 0; i < width; i++) {
                    if (dq)
                        dq[row * width + i] += ds * scale * k[at * width + i];
                    if (dk)
                        dk[at * width + i] += ds * scale * query[i];
                }
            }
        }
}
