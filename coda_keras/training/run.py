"""What every training recipe shares: the run folder, devices, training with resume."""

import functools
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras
import tensorflow as tf
from coda_keras.tf.checkpoints import EpochCheckpoint, restore, save_model, write_json

from coda_keras import CoDANet, OneVsAllAccuracy, OneVsAllCrossentropy
from coda_keras.tf.data import steps_per_epoch, test_batches, train_batches
from coda_keras.tf.summaries import tensorboard_callbacks

# Test images whose contribution maps TensorBoard shows after every epoch.
SHOWN_IMAGES = 12
ARGUMENTS = "arguments.json"


def command(main):
    """Turns the errors a user can mend into one line and exit code 2."""

    @functools.wraps(main)
    def run():
        try:
            main()
        except (ValueError, OSError) as error:
            print(f"{Path(sys.argv[0]).name}: {' '.join(str(error).split())}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print("\nInterrupted; the same command goes on where it stopped.", file=sys.stderr)
            sys.exit(130)

    return run


def open_run(args):
    """Makes the run's folder, or checks that an interrupted run in it had the same arguments.

    Returns:
        The folder.

    Raises:
        FileExistsError: if the folder holds a finished run, or one with other arguments.
    """
    arguments = _arguments(args)
    record = args.output / ARGUMENTS
    if (args.output / "metrics.json").exists():
        raise FileExistsError(
            f"{args.output} holds a finished run. Choose another --output, or delete the folder."
        )
    if record.exists():
        before = json.loads(record.read_text())
        changed = sorted(name for name in arguments if before.get(name) != arguments[name])
        if changed:
            flags = ", ".join("--" + name.replace("_", "-") for name in changed)
            raise FileExistsError(
                f"{args.output} holds an interrupted run with another {flags}. Repeat its command "
                "to resume it, choose another --output, or delete the folder."
            )
    args.output.mkdir(parents=True, exist_ok=True)
    return args.output


def configure(args):
    """Sets seed, precision and devices; to be called before TensorFlow computes anything.

    Returns:
        A `MirroredStrategy` over several devices, or TensorFlow's default one for a single one.
    """
    keras.utils.set_random_seed(args.seed)
    keras.config.set_dtype_policy(args.precision)
    # TF32 rounds where the norms cancel; mixed_bfloat16 is the way to faster arithmetic.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    gpus = tf.config.list_physical_devices("GPU")
    replicas = args.replicas or max(1, len(gpus))
    if gpus and replicas > len(gpus):
        raise ValueError(f"--replicas {replicas}, but this machine has {len(gpus)} GPUs.")
    if replicas == 1:
        return tf.distribute.get_strategy()
    if args.batch_size % replicas:
        raise ValueError(
            f"--batch-size {args.batch_size} cannot be split evenly over {replicas} replicas."
        )
    if not gpus:
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * replicas
        )
    kind = "GPU" if gpus else "CPU"
    return tf.distribute.MirroredStrategy([f"{kind}:{index}" for index in range(replicas)])


def coda_net(args, classes, image_size):
    """The untrained `CoDANet` that the flags ask for."""
    return CoDANet.from_preset(
        args.preset,
        classes=classes,
        rescale=args.rescale,
        temperature=args.temperature,
        rank_scale=args.rank_scale,
        image_size=image_size,
    )


def train(args, run, strategy, build, data, augment):
    """Trains `build()`, or what an interrupted run has left of it, to the last epoch.

    Args:
        args: the parsed flags.
        run: folder of the run.
        strategy: as `configure` returns it.
        build: function that returns the untrained net.
        data: `ImageData`.
        augment: functions `(image, seed) -> image`.

    Returns:
        `(net, history)`, history a list with a dict of logs for each epoch.
    """
    steps = steps_per_epoch(len(data.train_images), args.batch_size)
    with strategy.scope():
        net, history = restore(run, steps)
        if net is None:
            net = build()
            net.optimizer = keras.optimizers.Adam(learning_rate(args, steps))
        else:
            print(f"Resuming after epoch {len(history)} of {args.epochs}.")
        net.compile(
            optimizer=net.optimizer,
            loss=OneVsAllCrossentropy(),
            metrics=[OneVsAllAccuracy()],
            # XLA's collectives cannot cross devices.
            jit_compile=strategy.num_replicas_in_sync == 1,
        )
    shown = SHOWN_IMAGES if isinstance(net, CoDANet) else 0
    boards = tensorboard_callbacks(
        run,
        data.test_images[:shown].astype("float32") / 255.0 if shown else None,
        data.test_labels[:shown],
        data.class_names,
        images_per_epoch=steps * args.batch_size,
        arguments=vars(args),
    )
    checkpoint = EpochCheckpoint(run, history)
    write_json(run / ARGUMENTS, _arguments(args))
    net.fit(
        train_batches(
            data.train_images,
            data.train_labels,
            args.batch_size,
            args.epochs,
            start_epoch=len(history),
            seed=args.seed,
            augment=augment,
        ),
        steps_per_epoch=steps,
        initial_epoch=len(history),
        epochs=args.epochs,
        validation_data=test_batches(data.test_images, data.test_labels, 250),
        callbacks=[*boards, checkpoint],
        shuffle=False,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    save_model(net, run / "model.keras")
    return net, checkpoint.history


def learning_rate(args, steps_per_epoch):
    """The learning-rate schedule that the flags ask for."""
    if args.schedule == "steps":
        return keras.optimizers.schedules.ExponentialDecay(
            args.learning_rate, args.halve_every * steps_per_epoch, 0.5, staircase=True
        )
    total = args.epochs * steps_per_epoch
    warmup = max(1, total // 20)
    return keras.optimizers.schedules.CosineDecay(
        0.0, total - warmup, warmup_target=args.learning_rate, warmup_steps=warmup
    )


def _arguments(args):
    # Where the files lie does not change what is computed.
    places = ("data", "output")
    return {name: value for name, value in vars(args).items() if name not in places}
