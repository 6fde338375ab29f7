"""The messages of TensorFlow Serving's gRPC API that a client needs, without TensorFlow.

`tensorflow_serving.apis` has them all, but imports TensorFlow, which takes longer than most
answers. Fields have the numbers that the API gives them; names of messages are not sent.
"""

import re

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "coda_keras.serving"
_Field = descriptor_pb2.FieldDescriptorProto
# Enumerations are integers on the wire. `map M` has strings as keys.
_MESSAGES = {
    "Dim": {"size": (1, "int64")},
    "TensorShape": {"dim": (2, "repeated Dim"), "unknown_rank": (3, "bool")},
    "Tensor": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShape"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "repeated float"),
        "double_val": (6, "repeated double"),
        "int_val": (7, "repeated int32"),
        "string_val": (8, "repeated bytes"),
        "int64_val": (10, "repeated int64"),
        "bool_val": (11, "repeated bool"),
    },
    "TensorInfo": {
        "name": (1, "string"),
        "dtype": (2, "int32"),
        "tensor_shape": (3, "TensorShape"),
    },
    "Signature": {
        "inputs": (1, "map TensorInfo"),
        "outputs": (2, "map TensorInfo"),
        "method_name": (3, "string"),
    },
    "SignatureMap": {"signature_def": (1, "map Signature")},
    "Version": {"value": (1, "int64")},
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "Version"),
        "signature_name": (3, "string"),
        "version_label": (4, "string"),
    },
    "PredictRequest": {
        "model_spec": (1, "ModelSpec"),
        "inputs": (2, "map Tensor"),
        "output_filter": (3, "repeated string"),
    },
    "PredictResponse": {"outputs": (1, "map Tensor"), "model_spec": (2, "ModelSpec")},
    "MetadataRequest": {"model_spec": (1, "ModelSpec"), "metadata_field": (2, "repeated string")},
    "Any": {"type_url": (1, "string"), "value": (2, "bytes")},
    "MetadataResponse": {"model_spec": (1, "ModelSpec"), "metadata": (2, "map Any")},
    "StatusRequest": {"model_spec": (1, "ModelSpec")},
    "Reason": {"error_code": (1, "int32"), "error_message": (2, "string")},
    "VersionStatus": {"version": (1, "int64"), "state": (2, "int32"), "status": (3, "Reason")},
    "StatusResponse": {"model_version_status": (1, "repeated VersionStatus")},
}


def _file():
    """Describes the messages as a `.proto` file would."""
    file = descriptor_pb2.FileDescriptorProto(
        name="coda_keras/serving.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            repeated, mapped, kind = re.fullmatch("(repeated )?(map )?(.+)", kind).groups()
            if mapped:
                entry = message.nested_type.add(name=f"{field.title().replace('_', '')}Entry")
                entry.options.map_entry = True
                _add(entry, "key", 1, "string")
                _add(entry, "value", 2, kind)
                kind = f"{name}.{entry.name}"
            _add(message, field, number, kind, repeated or mapped)
    return file


def _add(message, name, number, kind, repeated=None):
    label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    scalar = _Field.Type.DESCRIPTOR.values_by_name.get(f"TYPE_{kind.upper()}")
    if scalar:
        field.type = scalar.number
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"


_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(_file().SerializeToString())


def _message(name):
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


Tensor = _message("Tensor")
SignatureMap = _message("SignatureMap")
PredictRequest, PredictResponse = _message("PredictRequest"), _message("PredictResponse")
MetadataRequest, MetadataResponse = _message("MetadataRequest"), _message("MetadataResponse")
StatusRequest, StatusResponse = _message("StatusRequest"), _message("StatusResponse")
