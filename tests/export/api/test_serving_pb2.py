"""Our messages against those of the API: field by field, byte by byte, in one process."""

import importlib
import re
import sys
from pathlib import Path

import pytest
from coda_keras_export.api import serving_pb2
from processes import run_in_new_python
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)

pytestmark = pytest.mark.tensorflow
MODULES = (predict_pb2, get_model_metadata_pb2, get_model_status_pb2, model_pb2)
PAIRS = {
    "TensorProto": tensor_pb2.TensorProto,
    "SignatureDef": meta_graph_pb2.SignatureDef,
    **{
        name: getattr(module, name)
        for module in MODULES
        for name in module.DESCRIPTOR.message_types_by_name
        if name in serving_pb2.DESCRIPTOR.message_types_by_name
    },
}


def compare(ours, theirs, seen):
    """Every field of ours is one of theirs: number, kind and what it holds."""
    if ours.full_name in seen:
        return
    seen.add(ours.full_name)
    for field in ours.fields:
        other = theirs.fields_by_name[field.name]
        # An enumeration is an integer on the wire.
        kinds = {other.type, field.TYPE_INT32} if other.enum_type else {other.type}
        assert (field.number, field.type in kinds) == (other.number, True), field.full_name
        assert field.is_repeated == other.is_repeated, field.full_name
        assert field.is_packed == other.is_packed, field.full_name
        oneofs = [side.containing_oneof and side.containing_oneof.name for side in (field, other)]
        # TensorInfo has its name in a choice with what servables of ours are not.
        assert oneofs[0] == oneofs[1] or oneofs == [None, "encoding"], field.full_name
        if field.enum_type:
            numbers = {value.name: value.number for value in other.enum_type.values}
            for value in field.enum_type.values:
                assert numbers[value.name] == value.number
        if field.message_type:
            compare(field.message_type, other.message_type, seen)


def test_fields_are_the_apis():
    seen = set()
    for name, theirs in PAIRS.items():
        compare(serving_pb2.DESCRIPTOR.message_types_by_name[name], theirs.DESCRIPTOR, seen)
    ours = {message.full_name for message in serving_pb2.DESCRIPTOR.message_types_by_name.values()}
    assert ours <= seen


def test_they_are_generated_from_the_proto_file():
    def numbers(message):
        yield from ((field.name, field.number) for field in message.fields)
        for enumeration in message.enum_types:
            yield from enumeration.values_by_name.items()
        for nested in message.nested_types:
            if not nested.GetOptions().map_entry:
                yield from numbers(nested)

    file = serving_pb2.DESCRIPTOR
    generated = [pair for message in file.message_types_by_name.values() for pair in numbers(message)]
    generated += file.enum_types_by_name["DataType"].values_by_name.items()
    generated = [(name, getattr(value, "number", value)) for name, value in generated]
    source = Path(serving_pb2.__file__).with_name("serving.proto").read_text()
    written = re.findall(r"(\w+) = (\d+);", source)
    assert sorted(generated) == sorted((name, int(number)) for name, number in written)


def fill(message, depth=0):
    """Gives every field of a message values, of which some are the greatest."""
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof and message.WhichOneof(field.containing_oneof.name):
            continue
        held = getattr(message, field.name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            for key in ("", "images", "größe"):
                fill(held[key], depth + 1)
        elif field.message_type and field.is_repeated:
            for _ in range(2):
                fill(held.add(), depth + 1)
        elif field.message_type:
            held.SetInParent()
            fill(held, depth + 1)
        else:
            values = {
                field.CPPTYPE_INT32: [-(2**31), 7],
                field.CPPTYPE_INT64: [-(2**63), 2**63 - 1],
                field.CPPTYPE_DOUBLE: [0.1, float("inf")],
                field.CPPTYPE_FLOAT: [0.5, -0.0],
                field.CPPTYPE_BOOL: [True, False],
                field.CPPTYPE_ENUM: [99, 1],
                field.CPPTYPE_STRING: (
                    [b"\xff\0", b""] if field.type == field.TYPE_BYTES else ["ü" * 200, ""]
                ),
            }[field.cpp_type]
            if field.is_repeated:
                held.extend(values)
            else:
                setattr(message, field.name, values[depth % 2])
    return message


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_they_are_the_same_bytes(name):
    ours, theirs = getattr(serving_pb2, name), PAIRS[name]
    sent = fill(ours()).SerializeToString(deterministic=True)
    assert len(sent) > 10
    read = theirs.FromString(sent)
    read.DiscardUnknownFields()
    assert read.SerializeToString(deterministic=True) == sent
    again = ours.FromString(read.SerializeToString())
    assert again == fill(ours())
    # What of theirs we do not know goes through.
    rich = fill(theirs()) if name.startswith("Get") else read
    kept = ours.FromString(rich.SerializeToString()).SerializeToString()
    assert theirs.FromString(kept) == rich


def import_both(*names):
    for name in names:
        importlib.import_module(name)
    ours = sys.modules["coda_keras_export.api.serving_pb2"].PredictRequest()
    theirs = sys.modules["tensorflow_serving.apis.predict_pb2"].PredictRequest()
    for request in (ours, theirs):
        request.model_spec.name = "tiny"
        request.inputs["images"].dtype = 1
    assert ours.SerializeToString() == theirs.SerializeToString()
    assert ours.DESCRIPTOR.file.pool is theirs.DESCRIPTOR.file.pool


@pytest.mark.parametrize("first", ["ours", "theirs", "tensorflow"])
def test_they_fit_into_one_process_in_any_order(first):
    ours = "coda_keras_export.api.serving_pb2"
    theirs = "tensorflow_serving.apis.predict_pb2"
    orders = {
        "ours": (ours, theirs, "tensorflow"),
        "theirs": (theirs, ours),
        "tensorflow": ("tensorflow", ours, theirs),
    }
    run_in_new_python(import_both, *orders[first])
