"""What every layer must do, whatever it computes: one check for all of them.

check_layer(lambda **kwargs: MyLayer(3, **kwargs), (2, 7, 6, 4), tmp_path)
"""

import inspect

import keras
import numpy as np
from conftest import EXACT_DTYPE, set_weights
from keras import ops

DTYPES = dict.fromkeys(("float32", "mixed_bfloat16", EXACT_DTYPE))
# Largest difference of results, relative to their size.
TOLERANCE = {"float32": 1e-5, "mixed_bfloat16": 0.03, "float64": 1e-12}


def check_layer(make, input_shape, folder):
    """Runs all checks on a layer; those of the pullback if it has `linearize`.

    Args:
        make: function of keyword arguments of `keras.layers.Layer` that returns a new layer.
        input_shape: tuple, with the batch; sizes should all differ and be small.
        folder: an empty one for a file.
    """
    check_config(make, name="mine", dtype="mixed_bfloat16", trainable=False)
    layers = {dtype: _with_weights(make(dtype=dtype), input_shape) for dtype in DTYPES}
    inputs = np.random.default_rng(3).normal(size=input_shape)
    for dtype, layer in layers.items():
        check_dtype_policy(layer, inputs)
        check_shapes(layer, inputs)
        if hasattr(layer, "linearize"):
            check_pullback(layer, inputs, TOLERANCE[dtype])
    if hasattr(make(), "linearize"):
        check_matrix(layers[EXACT_DTYPE], inputs, TOLERANCE[EXACT_DTYPE])
    check_file(layers["float32"], inputs, folder / "layer.keras")


def check_config(make, **kwargs):
    """Every argument is in the config, and the config makes the same object again."""
    made = make(**kwargs)
    config = made.get_config()
    # An initializer has no name.
    named = ["name"] if "name" in kwargs else []
    for name in [*named, *own_arguments(type(made))]:
        assert name in config, f"`{name}` is not in the config of {type(made).__name__}."
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert type(again) is type(made)
    assert again.get_config() == config
    for copy in (made, again):
        if named:
            assert copy.name == kwargs["name"]
        if "trainable" in kwargs:
            assert copy.trainable == kwargs["trainable"]
            assert copy.dtype_policy.name == kwargs["dtype"]


def own_arguments(layer_type):
    """Names of the arguments that a class adds to those of Keras, and their defaults."""
    if layer_type.__init__.__module__.partition(".")[0] == "keras":
        return {}
    parameters = list(inspect.signature(layer_type.__init__).parameters.values())[1:]
    named = [parameter for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    return {parameter.name: parameter.default for parameter in named}


def check_dtype_policy(layer, inputs):
    """Weights have the variable dtype, outputs the compute dtype; nothing else leaks in."""
    for variable in layer.variables:
        assert keras.backend.standardize_dtype(variable.dtype) == layer.variable_dtype
    outputs = layer(inputs)
    assert keras.backend.standardize_dtype(outputs.dtype) == layer.compute_dtype
    assert np.all(np.isfinite(_numpy(outputs)))


def check_shapes(layer, inputs):
    """Outputs have the announced shape, also where batch and sizes are unknown."""
    shape = tuple(layer(inputs).shape)
    assert tuple(layer.compute_output_shape(inputs.shape)) == shape
    assert tuple(layer(keras.Input(batch_shape=inputs.shape)).shape) == shape
    unknown = (*(None for _ in inputs.shape[:-1]), inputs.shape[-1])
    symbolic = layer(keras.Input(batch_shape=unknown)).shape
    assert len(symbolic) == len(shape)
    assert all(one in (None, other) for one, other in zip(symbolic, shape))


def check_pullback(layer, inputs, tolerance):
    """`linearize` returns what the layer does, and `W^T g . x = g . W x = g . y`."""
    outputs, pullback = layer.linearize(inputs)
    np.testing.assert_array_equal(_numpy(outputs), _numpy(layer(inputs)))
    cotangent = np.random.default_rng(5).normal(size=outputs.shape)
    pulled = pullback(ops.cast(cotangent, outputs.dtype))
    assert tuple(pulled.shape) == inputs.shape
    by_inputs, by_outputs = _numpy(pulled) * inputs, cotangent * _numpy(outputs)
    size = np.abs(by_outputs).sum() + np.abs(by_inputs).sum()
    assert abs(by_inputs.sum() - by_outputs.sum()) <= tolerance * size


def check_matrix(layer, inputs, tolerance):
    """The pullback is linear and that of every image alone: rows of W(x), and `y = W(x) x`."""
    image = inputs[:1]
    outputs, pullback = layer.linearize(image)
    size = int(np.prod(outputs.shape[1:]))
    rows = []
    for index in range(size):
        unit = np.eye(size)[index].reshape(outputs.shape)
        rows.append(_numpy(pullback(ops.cast(unit, outputs.dtype))).ravel())
    matrix = np.array(rows)
    scale = np.abs(matrix).max() * np.abs(image).sum()
    np.testing.assert_allclose(
        matrix @ image.ravel(), _numpy(outputs).ravel(), atol=tolerance * scale
    )
    together, pullback = layer.linearize(inputs)
    cotangent = np.random.default_rng(7).normal(size=together.shape)
    pulled = _numpy(pullback(ops.cast(cotangent, together.dtype)))
    scale = np.abs(matrix).max() * np.abs(cotangent[0]).sum()
    np.testing.assert_allclose(
        pulled[0].ravel(), cotangent[0].ravel() @ matrix, atol=tolerance * scale
    )


def check_file(layer, inputs, path):
    """A model of the layer survives a `.keras` file."""
    images = keras.Input(inputs.shape[1:])
    model = keras.Model(images, layer(images))
    model.save(path)
    again = keras.models.load_model(path)
    values = inputs.astype("float32")
    np.testing.assert_array_equal(_numpy(again(values)), _numpy(model(values)))


def _with_weights(layer, input_shape):
    layer.build(input_shape)
    set_weights(layer, np.random.default_rng(11))
    return layer


def _numpy(tensor):
    # NumPy has no bfloat16.
    return ops.convert_to_numpy(ops.cast(tensor, EXACT_DTYPE)).astype("float64")
