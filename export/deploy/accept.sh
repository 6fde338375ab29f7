#!/bin/sh
# Checks a server from outside: accept.sh HOST:PORT MODEL [--metrics URL]; --help has the rest.
# PYTHON names an interpreter with numpy, pillow, grpcio and protobuf.
exec "${PYTHON:-python3}" "$(dirname "$0")/../accept.py" "$@"
