#!/bin/sh
# Checks a server from outside: accept.sh HOST:PORT MODEL [--metrics URL]; --help has the rest.
# PYTHON names an interpreter that has coda-keras; neither Keras nor TensorFlow is started.
exec "${PYTHON:-python3}" -m coda_keras_export.accept "$@"
