"""TensorFlow Serving's gRPC API, without TensorFlow."""

# It counts in int64.
MAX_VERSION = 2**63 - 1
# Of all images of a request: some GB for a net that keeps a few hundred numbers for a pixel.
MAX_PIXELS = 2**20


def max_images(height: int, width: int) -> int:
    """Returns how many images of a size a request may hold: `MAX_PIXELS`, but at least one."""
    return max(1, MAX_PIXELS // max(1, height * width))
