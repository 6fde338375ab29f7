"""The name under which Keras knows the library's classes, also those in stored files."""

PACKAGE = "coda_keras"
