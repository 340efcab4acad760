/* The taps of a window that lie inside an axis of `size` places: those from first_tap to end_tap - 1.
   Tap t reads place start + t * dilation; the others would read padding, which counts as nothing. */
static int first_tap(int start, int dilation)
{
    return start >= 0 ? 0 : (dilation - 1 - start) / dilation;
}

/* The tap behind the last one that lies inside. */
static int end_tap(int start, int dilation, int taps, int size)
{
    int inside = start < size ? (size - start + dilation - 1) / dilation : 0;
    return inside < taps ? inside : taps;
}
