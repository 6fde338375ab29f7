"""What the training recipes share: nets of the settings, augmentation, TensorBoard, servables."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import coda_keras
from coda_keras import training
from coda_keras.models.pretrained import cards
from coda_keras.training import Settings, run_folder
from coda_keras.training.flags import command_line
from coda_keras.utils import extras

if TYPE_CHECKING:
    import keras

    from coda_keras.data.batches import Augment
    from coda_keras.data.images import ImageData

# Test images whose contribution maps TensorBoard shows after every epoch.
SHOWN_IMAGES = 12
OPERATIONS, MAGNITUDE = 2, 9  # of RandAugment


def defaults(*names: str) -> dict[str, Any]:
    """The values that settings have by themselves, of those for which a recipe has flags only."""
    return {name: getattr(Settings, name) for name in names}


def coda_net(settings: Settings, data: "ImageData") -> "coda_keras.CoDANet":
    """The `CoDANet` of the settings, for the classes of the data and the size of its images.

    One that begins with trained weights is named after the folder of its run.
    """
    named = {"name": settings.folder.resolve().name} if settings.preset in cards() else {}
    net = coda_keras.CoDANet.from_preset(
        settings.preset,
        classes=len(data.class_names),
        rescale=settings.rescale,
        temperature=settings.temperature,
        rank_scale=settings.rank_scale,
        image_size=data.test_images.shape[1:3],
        class_names=data.class_names,
        regularisation=settings.regularisation,
        grid_loss=settings.grid_loss,
        **named,
    )
    if settings.map_teacher:
        from coda_keras.models.map_teacher import MapTeacher

        teacher = coda_keras.load_model(settings.map_teacher)
        net.map_teacher = MapTeacher(teacher, settings.map_weight)
    return net


def augmentation(settings: Settings, padding: int) -> list["Augment"]:
    """RandAugment, flips and crops, and cutout, as far as the settings ask for them."""
    from coda_keras.data import augmentation

    augment = [augmentation.rand_augment(OPERATIONS, MAGNITUDE)] if settings.randaugment else []
    # A teacher knows images by its own flips and shifts.
    if not settings.teacher:
        augment.append(augmentation.flip_and_crop(padding, flip=not settings.alternate_flip))
    return [*augment, augmentation.cutout(settings.cutout)] if settings.cutout else augment


def run(
    settings: Settings,
    build: "Callable[[Settings, ImageData], keras.Model]",
    load: "Callable[[Settings], ImageData]",
    augment: "Callable[[Settings], Sequence[Augment]]",
    servable: str | None = None,
    more: Sequence[str] = (),
) -> "training.Trained":
    """`coda_keras.training.fit` with TensorBoard's callbacks, and a servable at the end.

    With `settings.ray` the workers of a cluster run the whole recipe, and this process ends when
    they have.

    Args:
        settings: of the recipe.
        build, load, augment: functions as `fit` takes them.
        servable: its name; None for none. Without the extra `serve` there is none either.
        more: the recipe's flags that are no settings.
    """
    if settings.ray:
        on_cluster(settings, load.__module__, more)
    made = partial(package, servable) if servable else None
    if made and (absent := extras.missing("serve")):
        print(f"no servable at the end: {extras.remedy(absent[0])}", flush=True)
        made = None
    return training.fit(settings, build, load, augment, boards, made)


def on_cluster(settings: Settings, module: str, more: Sequence[str]) -> NoReturn:
    """Has Ray start a recipe once for each worker, and ends this process as they end.

    Args:
        settings: of the recipe.
        module: name of the recipe's module.
        more: further flags of the recipe.
    """
    extras.require("cluster")
    settings = for_other_machines(settings)
    run_folder.check(settings)
    from coda_keras.cluster import ray_engine

    if module == "__main__":
        module = f"{__package__}.{Path(sys.argv[0]).stem}"
    flags = [*command_line(settings, without=("ray", "max_failures")), *more]
    ray_engine.connect(output=True)
    workers, failures = settings.ray or 1, settings.max_failures
    sys.exit(ray_engine.train(module, flags, workers, failures, settings.folder))


def for_other_machines(settings: Settings) -> Settings:
    """The settings with absolute paths, since other machines have other working folders."""
    folders = {name: getattr(settings, name) for name in ("data", "archive", "cache", "output")}
    # Names of presets stay.
    files = {name: getattr(settings, name) for name in ("teacher", "map_teacher", "initial")}
    places = folders | {name: file for name, file in files.items() if file and Path(file).is_file()}
    absolute = {name: str(Path(place).resolve()) for name, place in places.items() if place}
    return dataclasses.replace(settings, **absolute)


def boards(settings: Settings, net: Any, data: "ImageData") -> list[Any]:
    """TensorBoard's callbacks, which need TensorFlow; none on other backends."""
    from coda_keras import backend

    if backend.NAME != "tensorflow":
        return []
    from coda_keras.tensorboard.callbacks import tensorboard_callbacks

    shown = SHOWN_IMAGES if isinstance(net, coda_keras.CoDANet) else 0
    return tensorboard_callbacks(
        settings.folder,
        data.test_images[:shown].astype("float32") / 255.0 if shown else None,
        data.test_labels[:shown],
        data.class_names,
        batch_size=settings.batch_size,
        arguments=settings.as_dict(),
    )


def package(name: str, net: "coda_keras.CoDANet", folder: Path, labels: list[str]) -> Path:
    """Makes a servable of a trained net."""
    from coda_keras_export.package import package

    return package(net, folder, name, labels=labels)
