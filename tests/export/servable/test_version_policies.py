"""Which versions are wanted, against the stock server's policies."""

import pytest
from coda_keras_export.servable import version_policies
from coda_keras_export.servable.version_policies import Policies, Policy, parse

VERSIONS = [1, 2, 3, 10, 20]


def test_the_latest_two_unless_told_otherwise():
    assert parse([]).of("any") == Policy(latest=2)
    assert Policies().of("any").wanted(VERSIONS) == [20, 10]
    assert Policies().of("any").wanted([7]) == [7]
    assert Policies().of("any").wanted([]) == []


def test_policies_of_models():
    policies = parse(["all", "coda=specific:3,1,99", "a=b=latest:1", "latest:3"])
    assert policies.of("coda").wanted(VERSIONS) == [3, 1]
    assert policies.of("a=b").wanted(VERSIONS) == [20]
    assert policies.of("other").wanted(VERSIONS) == [20, 10, 3]
    assert parse(["all"]).of("x").wanted(VERSIONS) == [20, 10, 3, 2, 1]


@pytest.mark.parametrize(
    "failed, wanted",
    [
        ({20}, [20, 10, 3]),
        ({20, 10, 3, 2}, VERSIONS[::-1]),
        (set(VERSIONS), VERSIONS[::-1]),
        ({10, 3}, [20, 10, 3, 2]),
        ({1}, [20, 10]),
    ],
)
def test_older_versions_serve_in_place_of_those_that_fail(failed, wanted):
    assert Policy(latest=2).wanted(VERSIONS, failed) == wanted
    assert Policy(specific=(20, 3)).wanted(VERSIONS, failed) == [20, 3]


@pytest.mark.parametrize(
    "text",
    [
        "latest:0",
        "latest:-1",
        "latest",
        "latest:",
        "specific:",
        "specific:1,",
        "specific:1;2",
        f"specific:{2**63}",
        "newest:2",
        "coda=",
        "",
        "x" * 10**5,
    ],
)
def test_what_is_no_policy_is_refused_in_a_sentence(text):
    with pytest.raises(ValueError, match="Expected a version policy") as error:
        parse([text])
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("text", ["all", "latest:3", "specific:1,20"])
def test_the_stock_servers_messages(text):
    model_server_config_pb2 = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2"
    )
    config = model_server_config_pb2.ModelConfig().model_version_policy
    wanted = parse([text]).default
    wanted.write_to(config)
    assert config.WhichOneof("policy_choice") == text.partition(":")[0]
    assert version_policies.from_config(config) == wanted
