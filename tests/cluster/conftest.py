"""Two Ray nodes on this machine, which all tests share: a node takes seconds to start."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
STORE = 80 * 2**20
ATTEMPTS = 10


def patiently(start):
    """Starts something of Ray, which gives a node 30 s: that is too little on a busy machine."""
    for left in reversed(range(ATTEMPTS)):
        try:
            return start()
        except Exception:
            if not left:
                raise
    return None


class Nodes:
    """A head without cores, and two nodes of one core each.

    Args:
        cluster: of `ray.cluster_utils`, with a head.
    """

    def __init__(self, cluster):
        self.cluster, self.joined = cluster, []
        self.nodes = []
        self.complete()

    def complete(self):
        """Adds what is missing of two nodes."""
        while len(self.nodes) + len(self.joined) < 2:
            add = partial(self.cluster.add_node, num_cpus=1, object_store_memory=STORE)
            self.nodes.append(patiently(add))

    def join(self):
        """Has a node join as on another machine; may be called from any thread."""
        line = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
        line += [f"--address={self.cluster.address}", f"--object-store-memory={STORE}"]
        self.joined.append(
            subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )

    def remove(self):
        """Takes a node away as a crash would."""
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)

    def end(self):
        """Ends all nodes."""
        for process in self.joined:
            process.terminate()
            process.wait()
        self.cluster.shutdown()


@pytest.fixture(scope="session")
def two_nodes():
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Workers import what tests hand them.
        patch.setenv("PYTHONPATH", str(TESTS), prepend=os.pathsep)
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # Beside the other tests workers of a lower priority would hardly run.
        patch.setenv("RAY_worker_niceness", "0")
        # Processes that wait for work in vain take seconds to start.
        patch.setenv("RAY_enable_worker_prestart", "0")
        patch.setenv("RAY_prestart_worker_first_driver", "0")
        # A node counts as lost after five of these.
        patch.setenv("RAY_health_check_period_ms", "1000")
        # What is written by TensorFlow at its start concerns nobody.
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"))
        arguments = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
        head = partial(Cluster, initialize_head=True, head_node_args=arguments)
        nodes = Nodes(patiently(head))
        ray.init(nodes.cluster.address, logging_level="ERROR", log_to_driver=False)
        yield nodes
        ray.shutdown()
        nodes.end()


@pytest.fixture
def nodes(two_nodes):
    two_nodes.complete()
    return two_nodes
