/* What `depthwise_conv` computes, for all images; the weight is [k][l][channel]. `skip` and limits are those
   of `conv_images`. */
static void depthwise_images(const real *x, const real *weight, const real *bias, const real *skip, real *y,
                             int images, int height, int width, int channels, int y_height, int y_width,
                             int kernel_h, int kernel_w, int stride_h, int stride_w, int top, int left,
                             int dilation_h, int dilation_w,
                             int is_limited, real lowest, real highest)
{
    const Limits limits = {lowest, highest}, *within = is_limited ? &limits : 0;
    /* The places whose windows lie in the picture, from the first to the end. */
    const int reach = width - 1 - (kernel_w - 1) * dilation_w + left;
    const int first = (left + stride_w - 1) / stride_w, last = reach < 0 ? 0 : reach / stride_w + 1;
    const int end = last < y_width ? last : y_width;
    const double products = (double)images * y_height * y_width * channels * kernel_h * kernel_w;
    SHARE(row, images * y_height, 1, products > PRODUCTS) {
        const int above = row % y_height * stride_h - top, k0 = first_tap(above, dilation_h);
        const real *picture = x + (row / y_height * height + above) * width * channels;
        for (int j = 0, places; j < y_width; j += places) {
            const int inside = j >= first && j < end, before = j * stride_w - left;
            const int l0 = inside ? 0 : first_tap(before, dilation_w);
            const int l1 = inside ? kernel_w : end_tap(before, dilation_w, kernel_w, width);
            const int at = (row * y_width + j) * channels;
            const DepthwiseWalk walk = {
                end_tap(above, dilation_h, kernel_h, height) - k0, dilation_h * width * channels,
                kernel_w * channels, l1 - l0, dilation_w * channels, stride_w * channels, channels,
            };
            places = inside ? end - j : 1;
            depthwise_places(places, &walk,
                             picture + (k0 * dilation_h * width + before + l0 * dilation_w) * channels,
                             weight + (k0 * kernel_w + l0) * channels, bias, skip ? skip + at : 0, y + at,
                             within);
        }
    }
}
