"""What every class that Keras may meet in a file must do, whatever it computes."""

import keras

from coda_keras.layers.checking import own_arguments


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
