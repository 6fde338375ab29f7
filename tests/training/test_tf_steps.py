"""Training steps in parts, and over several workers."""

import json
import os
import socket
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from processes import Forked

from coda_keras import CoDANet, DAUConv2D, training
from coda_keras.data.images import ImageData
from coda_keras.layers import DynamicBatchNormalization
from coda_keras.training import tf_distribution as distribution
from coda_keras.training import tf_steps as steps
from coda_keras.training import tf_workers as workers
from coda_keras.utils.command_line import command

pytestmark = [pytest.mark.tensorflow, pytest.mark.process]

VALUES = {
    **{"epochs": 2, "batch_size": 4, "learning_rate": 0.01, "schedule": "cosine"},
    **{"optimizer": "muon", "start_temperature": 0.5, "rise": 0.9, "output": None},
}


def make_data():
    random, labels = np.random.default_rng(4), np.arange(9, dtype="int32") % 2
    images = random.integers(0, 150, (9, 6, 6, 3)) + 100 * labels[:, None, None, None]
    images = images.astype("uint8")
    return ImageData(images, labels, images[:5], labels[:5], ["dark", "bright"])


def build(settings=None, data=None):
    return CoDANet([DAUConv2D(3, 2, 3), DAUConv2D(2, 2, 1)], temperature=1.0, image_size=6)


def train(folder, *flags):
    flags = [str(flag) for flag in (*flags, "--output", folder)]
    settings = training.SettingsParser("", **VALUES).settings(flags)
    net, history = training.train(settings, training.start(settings), build, make_data())
    return net.get_weights(), history


def assert_same(run, expected):
    weights, history = run
    for ours, theirs in zip(weights, expected[0], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
    for ours, theirs in zip(history, expected[1], strict=True):
        ours, theirs = ({**logs, "seconds": 0} for logs in (ours, theirs))
        assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "whole")


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_gives_the_same_weights_rates_and_history(parts, tmp_path, whole):
    assert_same(train(tmp_path, "--accumulate", parts), whole)


def test_parts_need_the_memory_of_a_part():
    """The largest tensor of a traced step is that of a part."""
    net = build()
    net.compile(keras.optimizers.SGD(0.1), keras.losses.MeanSquaredError(), jit_compile=False)

    def images_seen(parts):
        steps.set_steps(net, parts)
        step = tf.function(lambda *data: net.train_step(data)).get_concrete_function(
            tf.TensorSpec((8, 6, 6, 3)), tf.TensorSpec((8, 2))
        )
        names = [f.signature.name for f in step.graph.as_graph_def().library.function]
        bodies = [step.graph._get_function(name).graph for name in names if "body" in name]
        graphs = bodies or [step.graph]
        return {
            output.shape[0]
            for graph in graphs
            for operation in graph.get_operations()
            if operation.type == "Conv2D"
            for output in operation.outputs
        }

    assert images_seen(1) == {8}
    assert images_seen(4) == {2}


@pytest.mark.parametrize("kind", [keras.layers.BatchNormalization, DynamicBatchNormalization])
def test_batch_normalisation_has_no_parts(kind):
    net = keras.Sequential([keras.layers.Dense(2), keras.Sequential([kind()])])
    with pytest.raises(ValueError, match=r"2 parts \(--accumulate\) would change"):
        steps.set_steps(net, 2)


def test_batches_that_have_no_such_parts(tmp_path):
    with pytest.raises(ValueError, match="--batch-size 4 cannot be split into 3 parts"):
        train(tmp_path / "run", "--accumulate", 3)
    assert not (tmp_path / "run").exists()


# Workers.


def configuration(index, ports):
    addresses = [f"127.0.0.1:{port}" for port in ports]
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


def test_workers_are_those_of_tf_config(monkeypatch):
    assert (workers.configured(), workers.is_chief()) == (1, True)
    for index, chief in ((0, True), (1, False)):
        monkeypatch.setenv("TF_CONFIG", configuration(index, (1, 2)))
        assert (workers.configured(), workers.is_chief()) == (2, chief)
    with pytest.raises(ValueError, match="--batch-size 3 cannot be split over 2 workers"):
        distribution.data_parallel(None, 3)
    with pytest.raises(ValueError, match="A worker trains on one device, this one has 2"):
        distribution.data_parallel(2, 4)
    for text, said in (("{", "no JSON"), ("[]", "no JSON"), ('{"cluster": {"ps": []}}', "'ps'")):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(ValueError, match=said):
            workers.configured()


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def start_workers(folders, *flags):
    """Starts this file as a worker for every folder."""
    ports = free_ports(len(folders))
    return [
        Forked(
            *(__file__, folder, *flags),
            env={**os.environ, "TF_CONFIG": configuration(index, ports)},
        )
        for index, folder in enumerate(folders)
    ]


def test_two_workers_train_as_one_and_the_chief_alone_writes(tmp_path, whole):
    folders = [tmp_path / "chief", tmp_path / "other"]
    processes = start_workers(folders, "--accumulate", 2)
    said = ["\n".join(process.communicate()) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    assert not folders[1].exists()
    net = keras.models.load_model(folders[0] / "model.keras")
    history = json.loads((folders[0] / "history.json").read_text())
    assert_same((net.get_weights(), history), whole)


if __name__ == "__main__":

    @command
    def main(arguments, prog):
        train(Path(sys.argv[1]), *sys.argv[2:])

    main()
