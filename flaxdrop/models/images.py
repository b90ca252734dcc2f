"""What a network takes for images."""

import jax
import jax.numpy as jnp


def check_images(x: jax.Array, smallest: int = 1, need: str = "") -> None:
    """Refuses what a network would compute something from that is no prediction of images.

    Args:
      x: normalised images, or features of some, `[N, H, W, C]`; may be traced.
      smallest: the shorter side, in pixels, is at least that.
      need: what needs it, in words.

    Raises:
      ValueError: another rank, as of one image without its batch; integers, as of pixels that are
        not normalised; images that are too small.

    >>> check_images(jnp.zeros((1, 32, 32, 3)))
    """
    if jnp.ndim(x) != 4 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"x: must be floating-point [N, H, W, C], got {x.dtype} of shape {jnp.shape(x)}"
        )
    if min(x.shape[1:3]) < smallest:
        raise ValueError(
            f"image_size: must be at least {smallest} for {need}, got {x.shape[1]}x{x.shape[2]}"
        )
