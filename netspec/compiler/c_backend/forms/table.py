"""Which kernel of a plan has which form."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from netspec.compiler.c_backend.forms import (
    copies,
    recurrent,
    reductions,
    resizing,
    rows,
    training,
    windows,
)
from netspec.compiler.c_backend.kernel_call import KernelCall

# A form returns the lines of C; None if there are none for these sizes.
Form = Callable[[KernelCall], list[str] | None]

FORMS: Mapping[str, Form] = {
    "adaptive.avg_forward": windows.adaptive_avg_pool,
    "adaptive.max_forward": windows.adaptive_max_pool,
    "batch_norm.fold_into": training.fold_into,
    "batch_norm.running_scale_shift": training.running_scale_shift,
    "attention.forward": rows.attention,
    "attention.project": rows.projection,
    "conv.backward_input": training.conv_backward_input,
    "conv.forward": windows.conv,
    "conv_transpose.forward": windows.conv_transpose,
    "copies.embed": copies.embed,
    "copies.extract": copies.extract,
    "copies.insert": copies.insert,
    "copies.repeat": copies.repeat,
    "copies.roll": copies.roll,
    "copies.to_channels_first": copies.to_channels_first,
    "copies.to_channels_last": copies.to_channels_last,
    "copies.transpose": copies.transpose,
    "edges.forward": windows.pad_edges,
    "gather.choose": copies.choose,
    "gather.one_hot": copies.one_hot,
    "gather.rows": copies.embedding,
    "linear.forward": rows.linear,
    "local_response.forward": rows.local_response_norm,
    "matmul.forward": rows.matmul,
    "per_image_norm.forward": rows.normalize,
    "pool.avg_backward": windows.avg_pool_backward,
    "pool.avg_forward": windows.avg_pool,
    "pool.global_avg_backward": training.global_avg_pool_backward,
    "pool.global_avg_forward": windows.global_avg_pool,
    "pool.max_backward": training.max_pool_backward,
    "pool.max_forward": windows.max_pool,
    "recurrent.gru": recurrent.gru,
    "recurrent.join": copies.join,
    "recurrent.lstm": recurrent.lstm,
    "recurrent.rnn": recurrent.rnn,
    "reductions.largest": reductions.largest,
    "reductions.logsumexp": reductions.logsumexp,
    "reductions.mean": reductions.mean,
    "reductions.mean_backward": reductions.mean_backward,
    "reductions.place_of_largest": reductions.place_of_largest,
    "reductions.running": reductions.running,
    "reductions.smallest": reductions.smallest,
    "reductions.sum_repeated": reductions.sum_repeated,
    "reductions.total": reductions.total,
    "reductions.total_backward": reductions.total_backward,
    "reductions.variance": reductions.variance,
    "softmax.backward": rows.softmax_backward,
    "softmax.forward": rows.softmax,
    "softmax.log_backward": rows.log_softmax_backward,
    "softmax.log_forward": rows.log_softmax,
    "upsample.forward": resizing.resample,
    "upsample.nearest_forward": resizing.nearest,
    "windows.unfold": windows.unfold,
}

# Forms that see the whole batch; the others are called for one image after the other.
BATCH_FORMS: Mapping[str, Form] = {
    "batch_norm.batch_backward": training.batch_norm_backward,
    "batch_norm.batch_statistics": training.batch_statistics,
    "broadcast_sums.backward": training.broadcast_sum,
    "conv.backward_bias": training.sum_of_rows,
    "conv.backward_weight": training.conv_backward_weight,
    "linear.backward_bias": training.sum_of_rows,
    "linear.backward_input": training.linear_backward_input,
    "linear.backward_weight": training.linear_backward_weight,
    "linear.forward": rows.linear,
    "reductions.over_batch": training.over_batch,
}
