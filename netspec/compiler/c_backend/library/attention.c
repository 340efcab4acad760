/* Attention of `heads` heads: y = softmax(q k^T / sqrt(width) + bias) v, with q [queries][width],
   k [keys][width], v [keys][v_width] for each head, and bias [queries][keys] or none. If causal, a
   query sees the keys up to its own place. `shares` holds `keys` numbers in between. */
static void attention(const real *q, const real *k, const real *v, const real *bias, real *y,
                      real *shares,
                      int heads, int queries, int keys, int width, int v_width,
                      int causal)
{
    const real scale = 1 / real_sqrt((real)width);
    for (int h = 0; h < heads; h++, k += keys * width, v += keys * v_width)
        for (int t = 0; t < queries; t++, q += width, y += v_width) {
            const int seen = causal && t + 1 < keys ? t + 1 : keys;
            for (int s = 0; s < seen; s++) {
                real dot = 0;
                for (int i = 0; i < width; i++)
                    dot += q[i] * k[s * width + i];
                shares[s] = dot * scale + (bias ? bias[(h * queries + t) * keys + s] : 0);
            }
            softmax(shares, shares, 1, seen, 1);
            for (int i = 0; i < v_width; i++)
                y[i] = 0;
            for (int s = 0; s < seen; s++)
                for (int i = 0; i < v_width; i++)
                    y[i] += shares[s] * v[s * v_width + i];
        }
}
