"""What `compile`, `fit`, `evaluate` and `predict` of Keras do for a `CoDANet`."""

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

import keras

from coda_keras import backend
from coda_keras.data.range_checks import checked, in_range_errors
from coda_keras.losses import OneVsAllAccuracy, OneVsAllCrossentropy, named


class ImageClassifier(keras.Model):
    """A Keras model of images in [0, 1] whose logits are trained one against all."""

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = "auto",
        loss_weights: Any = None,
        metrics: Any = "auto",
        jit_compile: bool | str = "auto",
        **options: Any,
    ) -> None:
        """Configures the net for training, as `keras.Model.compile` does.

        >>> net = CoDANet([DAUConv2D(5, 8, 3)], temperature=10, image_size=8)
        >>> net.compile()

        Args:
            optimizer: an optimiser or its name; Adam by default.
            loss: a loss, its name, None for none, or `"auto"` for `OneVsAllCrossentropy`, which
                has the name `"one_vs_all_crossentropy"`.
            loss_weights: as for Keras.
            metrics: list of metrics or their names, or None; `"auto"` adds `OneVsAllAccuracy`
                (by name `"one_vs_all_accuracy"`) if the loss is `"auto"` too.
            jit_compile: bool, whether steps are compiled by XLA (on torch by `torch.compile`), or
                `"auto"` for what is fast: on TensorFlow XLA on a single GPU and not on CPUs, XLA
                always on JAX, and neither on torch.
            **options: `weighted_metrics`, `run_eagerly`, ... of Keras.
        """
        if isinstance(metrics, str) and metrics == "auto":
            metrics = [OneVsAllAccuracy()] if _is_auto(loss) else None
        if _is_auto(loss):
            loss = OneVsAllCrossentropy()
        loss, metrics, weighted = keras.tree.map_structure(
            named, (loss, metrics, options.pop("weighted_metrics", None))
        )
        self._auto_jit = _is_auto(jit_compile)
        if self._auto_jit:
            strategy = getattr(self, "distribute_strategy", None)
            jit_compile = backend.use_xla(strategy) and not options.get("run_eagerly")
        super().compile(
            optimizer,
            loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted,
            jit_compile=jit_compile,
            **options,
        )

    def get_compile_config(self) -> dict[str, Any]:
        config = super().get_compile_config()
        if config and self._auto_jit:
            # What is fast elsewhere is decided there.
            config["jit_compile"] = "auto"
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        *arguments: Any,
        validation_data: Any = None,
        steps_per_epoch: int | None = None,
        **options: Any,
    ) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does, and looks at the first batch of every epoch.

        Raises:
            ValueError: if image values are not in [0, 1]; see `unchecked`.
        """
        if isinstance(validation_data, (tuple, list)):
            validation_data = (checked(validation_data[0]), *validation_data[1:])
        with self._looking_at_images():
            return super().fit(
                checked(x, every=steps_per_epoch),
                y,
                *arguments,
                validation_data=checked(validation_data),
                steps_per_epoch=steps_per_epoch,
                **options,
            )

    def evaluate(self, x: Any = None, *arguments: Any, **options: Any) -> Any:
        """Evaluates as `keras.Model.evaluate` does, and looks at every batch.

        Raises:
            ValueError: if image values are not in [0, 1]; see `unchecked`.
        """
        with self._looking_at_images():
            return super().evaluate(checked(x), *arguments, **options)

    def predict(self, x: Any, *arguments: Any, **options: Any) -> Any:
        """Predicts as `keras.Model.predict` does, and looks at every batch.

        Raises:
            ValueError: if image values are not in [0, 1]; see `unchecked`.
        """
        with self._looking_at_images():
            return super().predict(checked(x), *arguments, **options)

    @contextmanager
    def _looking_at_images(self):
        with in_range_errors(), backend.keeping_variables(self):
            yield

    def train_on_batch(self, x: Any, *arguments: Any, **options: Any) -> Any:
        return super().train_on_batch(checked(x), *arguments, **options)

    def test_on_batch(self, x: Any, *arguments: Any, **options: Any) -> Any:
        return super().test_on_batch(checked(x), *arguments, **options)

    def predict_on_batch(self, x: Any) -> Any:
        return super().predict_on_batch(checked(x))

    def connect(self, inputs: keras.KerasTensor, outputs: keras.KerasTensor) -> None:
        """Takes what a build computed symbolically for the graph of `input` and `output`."""
        self._inputs, self._outputs = inputs, outputs

    @property
    def input(self) -> keras.KerasTensor:
        """The symbolic images `(None, H, W, 3)`, from which the layers' `output` is computed.

        >>> net = CoDANet([DAUConv2D(5, 8, 3, name="first")], temperature=10, image_size=8)
        >>> features = keras.Model(net.input, net.get_layer("first").output)
        >>> features.output_shape
        (None, 8, 8, 5)

        Raises:
            ValueError: if the net is not built yet.
        """
        self.require_built("its input")
        return self._inputs

    @property
    def output(self) -> keras.KerasTensor:
        """The symbolic logits `(None, classes)`, computed from `input` by way of the layers."""
        self.require_built("its output")
        return self._outputs

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        return [self.input]

    @property
    def outputs(self) -> list[keras.KerasTensor]:
        return [self.output]

    def require_built(self, wanted: str) -> None:
        """Raises ValueError if the net is not built yet, so that something is not known."""
        if not self.built:
            raise ValueError(
                f"The net is not built yet, so {wanted} is not known. Give it an `image_size`, or "
                "call it on images."
            )

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        outputs: Sequence[str] | None = None,
    ) -> None:
        """Writes the net for another runtime, in float32 and with its explanations.

        The formats are those of `keras.Model.export`. `"tf_saved_model"` has the signatures of a
        servable (`coda_keras.exporting.signatures`). `"onnx"`, `"openvino"` and `"litert"` hold one
        graph, which takes images and class ids, of any number, to `logits`, `probabilities`,
        `class_ids`, `contribution_map`, `contributions`, `weights` and `residual`
        (`coda_keras.exporting.graph`). `coda-keras export` does the same and compares what the
        file answers.

        Args:
            filepath: path to write; it ends in `.onnx`, `.xml` or `.tflite`, or is a folder.
            format: `"tf_saved_model"`, `"onnx"`, `"openvino"` or `"litert"`.
            verbose: bool, whether to print the path.
            input_signature: a `keras.InputSpec` of the images, `(None, H, W, 3)`, or a list with
                one, for another size than the net's `image_size`.
            outputs: names of outputs of the one graph, for a file without the others.

        Raises:
            ValueError: if the net is not built yet, no size of images is known, an argument does
                not fit, or Keras runs on another backend than TensorFlow.
            ModuleNotFoundError: if a package is not installed; it says which extra brings it.
        """
        from coda_keras.exporting import formats
        from coda_keras.models.precision import float32_copy

        shape = self.input.shape if input_signature is None else _shape(input_signature)
        size = None if None in shape[1:3] else tuple(shape[1:3])
        net = float32_copy(self, size)
        for layer in net._flatten_layers():
            if getattr(layer, "implementation", None) == "patches":
                # The same numbers by operations that every runtime has.
                layer.implementation = "factored"
        formats.write(net, filepath, format, outputs)
        if verbose:
            print(f"Saved artifact at '{filepath}'.")

    def quantize(self, *arguments: Any, **options: Any) -> None:
        """Raises ValueError: Keras can quantize none of the layers."""
        raise ValueError(
            "A CoDANet cannot be quantized: Keras has no int8 form of its layers. Build it with "
            "`dtype='mixed_bfloat16'` for faster arithmetic, or a lower `rank_scale` for fewer "
            "weights."
        )


def _shape(signature):
    first = signature[0] if isinstance(signature, (list, tuple)) else signature
    return first.shape


def _is_auto(argument):
    return isinstance(argument, str) and argument == "auto"
