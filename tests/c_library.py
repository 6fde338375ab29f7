"""Runs a SavedModel through TensorFlow's C library, as a C++ model server does.

A process of its own without TensorFlow in Python: nothing stands between a request and the
graph, and what would bring a server down brings down this process alone.

    python c_library.py <folder with libtensorflow_cc> <saved model> < requests > answers

Requests: a JSON list of `[{tensor name: [dtype, shape, values]}, output tensor name]`, answers a
JSON list of `[code, message, shape, values]`. Eight of them run at once.
"""

import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from ctypes import (
    CDLL,
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_float,
    c_int,
    c_int64,
    c_size_t,
    c_void_p,
    cast,
)
from pathlib import Path

FLOAT, INT32, STRING = 1, 3, 7
STRING_BYTES = 24


class Output(Structure):
    _fields_ = [("operation", c_void_p), ("index", c_int)]


def load_library(folder):
    tf = CDLL(str(next(Path(folder).glob("libtensorflow_cc.so*"))))
    pointers = (
        "TF_NewStatus TF_NewGraph TF_NewSessionOptions TF_LoadSessionFromSavedModel "
        "TF_GraphOperationByName TF_AllocateTensor TF_TensorData"
    )
    for name in pointers.split():
        getattr(tf, name).restype = c_void_p
    tf.TF_Message.restype = c_char_p
    tf.TF_Dim.restype = c_int64
    tf.TF_TensorByteSize.restype = c_size_t
    return tf


class Session:
    def __init__(self, tf, path):
        self.tf, self.graph, status = tf, c_void_p(tf.TF_NewGraph()), c_void_p(tf.TF_NewStatus())
        tags = (c_char_p * 1)(b"serve")
        self.session = c_void_p(
            tf.TF_LoadSessionFromSavedModel(
                c_void_p(tf.TF_NewSessionOptions()),
                None,
                path.encode(),
                tags,
                1,
                self.graph,
                None,
                status,
            )
        )
        if tf.TF_GetCode(status):
            sys.exit(tf.TF_Message(status).decode())

    def run(self, inputs, output):
        status = c_void_p(self.tf.TF_NewStatus())
        feeds = (Output * len(inputs))(*map(self.output, inputs))
        tensors = (c_void_p * len(inputs))(*(self.tensor(*value) for value in inputs.values()))
        fetched = (c_void_p * 1)()
        self.tf.TF_SessionRun(
            self.session,
            None,
            feeds,
            tensors,
            len(inputs),
            byref(self.output(output)),
            fetched,
            1,
            None,
            0,
            None,
            status,
        )
        if code := self.tf.TF_GetCode(status):
            return [code, self.tf.TF_Message(status).decode(), None, None]
        result = c_void_p(fetched[0])
        shape = [self.tf.TF_Dim(result, axis) for axis in range(self.tf.TF_NumDims(result))]
        values = cast(self.tf.TF_TensorData(result), POINTER(c_float))
        return [0, "", shape, values[: math.prod(shape)]]

    def output(self, name):
        operation, index = name.split(":")
        pointer = self.tf.TF_GraphOperationByName(self.graph, operation.encode())
        return Output(pointer, int(index))

    def tensor(self, dtype, shape, values):
        size = {FLOAT: 4, INT32: 4, STRING: STRING_BYTES}[dtype] * len(values)
        dims = (c_int64 * len(shape))(*shape)
        tensor = self.tf.TF_AllocateTensor(dtype, dims, len(shape), c_size_t(size))
        data = self.tf.TF_TensorData(c_void_p(tensor))
        if dtype == STRING:
            for index, value in enumerate(map(bytes.fromhex, values)):
                string = c_void_p(data + index * STRING_BYTES)
                self.tf.TF_StringInit(string)
                self.tf.TF_StringCopy(string, value, c_size_t(len(value)))
        else:
            kind = c_float if dtype == FLOAT else c_int
            (kind * len(values)).from_address(data)[:] = values
        return tensor


if __name__ == "__main__":
    session = Session(load_library(sys.argv[1]), sys.argv[2])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda request: session.run(*request), json.load(sys.stdin)))
    json.dump(answers, sys.stdout)
