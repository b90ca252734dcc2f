"""Convolutions for CPUs.

What all of them take: x, the image, `[N, H, W, C]`; the kernel, `[h, w, C, O]`; g, of the result,
`[N, H', W', O]`; the strides of the two spatial axes; pads, pixels (before, after) for both axes;
the precision of the products, as in `lax`. What they give has the shape of g, the gradient of an
array the shape of the array.
"""
