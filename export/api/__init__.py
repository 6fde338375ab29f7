"""TensorFlow Serving's gRPC API, without TensorFlow."""

# It counts in int64.
MAX_VERSION = 2**63 - 1
