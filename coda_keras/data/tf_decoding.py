"""PNG and JPEG files to images, in the graph; what they say of their size is read first.

A picture of 23,000 x 23,000 pixels fits into 62 KB, and decoding takes 1.6 GB. Only files whose
header names the right format and size are therefore decoded at all.
"""

import tensorflow as tf

# The PNG signature, and the chunk that has to follow: 13 bytes, width and height first.
_PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x0dIHDR"
_JPEG = b"\xff\xd8\xff"
_HEADER_BYTES = len(_PNG) + 8


def decode_images(image_bytes: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Decodes a batch of image files.

    Grey images become RGB; transparency and EXIF orientation are ignored.

    Args:
        image_bytes: string `(B,)`, PNG or JPEG files of `height` x `width` pixels.

    Returns:
        float32 `(B, height, width, 3)` in [0, 1].

    Raises:
        tf.errors.InvalidArgumentError: when it runs, if there is no file, or one is no such image.
    """
    image_bytes = tf.ensure_shape(image_bytes, (None,))
    check = require(
        tf.shape(image_bytes)[0] > 0, "Expected at least one encoded image. Received none."
    )
    with tf.control_dependencies([check]):
        image_bytes = tf.identity(image_bytes)

    def decode(encoded):
        size = _size(encoded)
        check = require(
            tf.reduce_all(size == (height, width)),
            f"Expected PNG or JPEG images of {height}x{width} pixels (height x width). "
            "Received {}x{}.",
            size[0],
            size[1],
        )
        with tf.control_dependencies([check]):
            encoded = tf.identity(encoded)
        image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        return tf.cast(tf.ensure_shape(image, (height, width, 3)), tf.float32) / 255

    spec = tf.TensorSpec((height, width, 3), tf.float32)
    return tf.map_fn(decode, image_bytes, fn_output_signature=spec)


def require(condition: tf.Tensor, sentence: str, *values: tf.Tensor) -> tf.Operation:
    """An operation that ends the request unless `condition`, with `sentence`, its `{}` filled."""
    return tf.debugging.Assert(condition, [tf.strings.format(sentence, values)])


def _size(encoded):
    """`(height, width)` in int64 as the header of a PNG or JPEG file says."""
    header = tf.strings.substr(encoded, 0, _HEADER_BYTES) + b"\0" * _HEADER_BYTES
    header = tf.io.decode_raw(tf.strings.substr(header, 0, _HEADER_BYTES), tf.uint8)
    is_png, is_jpeg = _starts_with(header, _PNG), _starts_with(header, _JPEG)
    check = require(
        is_png | is_jpeg, "Unknown image file format. Expected PNG or JPEG, complete with header."
    )

    def size_of_png():
        digits = tf.reshape(tf.cast(header[-8:], tf.int64), (2, 4))
        return tf.reverse(tf.reduce_sum(digits * [2**24, 2**16, 2**8, 1], axis=1), [0])

    def size_of_jpeg():
        return tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.int64)

    with tf.control_dependencies([check]):
        return tf.cond(is_jpeg, size_of_jpeg, size_of_png)


def _starts_with(header, magic):
    return tf.reduce_all(header[: len(magic)] == tf.constant(list(magic), tf.uint8))
