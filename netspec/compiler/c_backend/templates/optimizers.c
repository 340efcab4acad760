/* Adds to the gradients those of an L2 term: decay times the weights, which are the first parameters. */
void net_add_decay(const net_real *parameters, net_real *gradients, net_real decay)
{
    for (int i = 0; i < NET_DECAYED; i++)
        gradients[i] += decay * parameters[i];
}

/* Gradient descent. */
void net_sgd_step(net_real *parameters, const net_real *gradients, net_real rate)
{
    for (int i = 0; i < NET_TRAINED; i++)
        parameters[i] -= rate * gradients[i];
}

/* With momentum, which the velocities hold: 0 to begin with. */
void net_momentum_step(net_real *parameters, const net_real *gradients, net_real *velocities,
                       net_real rate, net_real momentum)
{
    for (int i = 0; i < NET_TRAINED; i++) {
        velocities[i] = momentum * velocities[i] + gradients[i];
        parameters[i] -= rate * velocities[i];
    }
}

/* The same, but each step looks where the next one will lead. */
void net_nesterov_step(net_real *parameters, const net_real *gradients, net_real *velocities,
                       net_real rate, net_real momentum)
{
    for (int i = 0; i < NET_TRAINED; i++) {
        velocities[i] = momentum * velocities[i] + gradients[i];
        parameters[i] -= rate * (gradients[i] + momentum * velocities[i]);
    }
}

/* RMSProp (Tieleman and Hinton 2012). The squares are 0 to begin with. */
void net_rmsprop_step(net_real *parameters, const net_real *gradients, net_real *squares, net_real rate)
{
    for (int i = 0; i < NET_TRAINED; i++) {
        squares[i] = (real)0.99 * squares[i] + (real)(1 - 0.99) * gradients[i] * gradients[i];
        parameters[i] -= rate * gradients[i] / (real_sqrt(squares[i]) + (real)1e-8);
    }
}

/* Adam (Kingma and Ba 2015). Its means and squares are 0 to begin with; steps count from 1. */
void net_adam_step(net_real *parameters, const net_real *gradients, net_real *means, net_real *squares,
                   int step, net_real rate)
{
    const double from_means = 1 - pow(0.9, step), from_squares = sqrt(1 - pow(0.999, step));
    const real by = (real)((double)rate * from_squares / from_means);
    const real least = (real)(1e-8 * from_squares);
    for (int i = 0; i < NET_TRAINED; i++) {
        means[i] += (real)(1 - 0.9) * (gradients[i] - means[i]);
        squares[i] = (real)0.999 * squares[i] + (real)(1 - 0.999) * gradients[i] * gradients[i];
        parameters[i] -= by * means[i] / (real_sqrt(squares[i]) + least);
    }
}

/* AdamW (Loshchilov and Hutter 2019): weights become smaller by themselves. */
void net_adamw_step(net_real *parameters, const net_real *gradients, net_real *means, net_real *squares,
                    int step, net_real rate, net_real decay)
{
    for (int i = 0; i < NET_DECAYED; i++)
        parameters[i] *= 1 - rate * decay;
    net_adam_step(parameters, gradients, means, squares, step, rate);
}

/* Lion (Chen et al. 2023): the sign of a mean of gradients. The means are 0 to begin with. */
void net_lion_step(net_real *parameters, const net_real *gradients, net_real *means, net_real rate, net_real decay)
{
    for (int i = 0; i < NET_DECAYED; i++)
        parameters[i] *= 1 - rate * decay;
    for (int i = 0; i < NET_TRAINED; i++) {
        const real way = means[i] + (real)(1 - 0.9) * (gradients[i] - means[i]);
        parameters[i] -= rate * (real)((way > 0) - (way < 0));
        means[i] += (real)(1 - 0.99) * (gradients[i] - means[i]);
    }
}
