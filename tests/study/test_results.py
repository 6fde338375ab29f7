"""The tables of a study, from numbers that are written down here."""

import pytest

from coda_keras.study.results import markdown


def score(mean):
    """A summary with what any metric of scores writes."""
    spread = {"mean": mean, "percentiles_25_50_75": [mean] * 3}
    return {"images": 5, **spread, "scaled": spread, "ssim": spread, "most": [0.5], "least": [0.5]}


def table(**methods):
    """Labels of the methods in the order of the table."""
    model = {
        "name": "net",
        "path": "net.keras",
        "kind": "coda_net",
        "parameters": 1,
        "temperature": 4.0,
        "test_accuracy": 0.5,
        "published": False,
        "methods": {name: {"label": name, **numbers} for name, numbers in methods.items()},
    }
    page = markdown(
        {
            "models": [model],
            "data": {"name": "digits", "test_images": 5, "note": None},
            "hardware": {"gpus": [], "processor": "a processor", "cores": 2},
            "finished": "2021-06-20T00:00:00+00:00",
        }
    )
    return [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize(
    ("metric", "best_first"),
    [
        ("insertion", (0.9, 0.5, 0.1)),
        ("sparseness", (0.9, 0.5, 0.1)),
        ("deletion", (0.1, 0.5, 0.9)),
        ("completeness", (1e-7, 0.5, 20.0)),
        # As texts 9 would stand above 100, and 1e+03 below both.
        ("infidelity", (9.0, 100.0, 1000.0)),
        ("random_logit", (-0.2, 0.1, 0.3)),
        ("road", (0.1, -0.05, -0.2)),
    ],
)
def test_the_best_method_stands_first(metric, best_first):
    first, second, third = ({metric: score(mean)} for mean in best_first)
    assert table(gradcam=second, gradient=third, rise=first) == ["rise", "gradcam", "gradient"]


def test_maps_least_like_those_of_random_weights_stand_first():
    def sanity(value):
        forms = {"signed": [0.9, value], "absolute": [0.9, 0.9]}
        return {"sanity": {"images": 2, "steps": [["a"], ["b"]], "rank_correlation": forms}}

    ordered = table(gradient=sanity(-0.5), gradcam=sanity(0.3), rise=sanity(-0.1))
    assert ordered == ["rise", "gradcam", "gradient"]


def test_the_first_metric_counts_and_methods_without_it_stand_last():
    ordered = table(
        gradient={"deletion": score(0.01)},
        gradcam={"insertion": score(0.2), "deletion": score(0.3)},
        rise={"deletion": score(0.3), "insertion": score(0.9)},
    )
    assert ordered == ["gradient", "gradcam", "rise"]
    assert table(gradient={"insertion": score(0.9)}, rise={"deletion": score(0.4)}) == [
        "rise",
        "gradient",
    ]
    assert table(rise={}, gradient={}) == ["rise", "gradient"]
