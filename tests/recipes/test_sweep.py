"""The sweep: which runs it makes, what it passes on, how it goes on, what it draws."""

import json
import signal
import sys
from types import SimpleNamespace

import pytest
from coda_keras_recipes import sweep, sweep_figures

from coda_keras.cluster import processes

FLAGS = ["--fast", "--epochs", "2"]
# In the place of the recipe and of recipes/evaluate.py. A run fails while its folder has a file
# `broken`, and notes every start.
RECIPE = """
import json, os, sys
from pathlib import Path
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
folder = Path(flags["--output"])
folder.mkdir(exist_ok=True)
with (folder / "starts").open("a") as starts:
    starts.write(" ".join(sys.argv[1:]) + " gpu " + os.environ.get("CUDA_VISIBLE_DEVICES", "-"))
    starts.write(chr(10))
if (folder / "broken").exists():
    sys.exit("something broke")
known = json.loads((Path(__file__).parent / "arguments.json").read_text())
arguments = known[flags["--experiment"]]
metrics = {"test_accuracy": 0.1, "test_images": 5, "completeness_error": 1e-6, "note": None}
metrics |= {"parameters": 1_000_000, "training_seconds": 2.0, "arguments": arguments}
metrics |= {"finished": "", "versions": {}, "hardware": {}}
(folder / "metrics.json").write_text(json.dumps(metrics))
"""
EVALUATE = """
import json, sys
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
flags |= dict(zip(sys.argv[2::2], sys.argv[3::2]))
scores = {"test_accuracy": 0.75, "test_images": 10_000, "completeness_error": 1e-5}
scores["note"] = "a note"
if flags["--grids"] != "0":
    scores |= {"localisation": 0.5, "grids": int(flags["--grids"]) - 1}
open(flags["--output"], "w").write(json.dumps(scores))
"""


@pytest.fixture
def swept(monkeypatch, tmp_path, capsys):
    """Runs the command with stand-ins for what trains; returns exit code, output, errors."""
    recipes, output = tmp_path / "recipes", tmp_path / "out"
    recipes.mkdir()
    (recipes / "cifar10.py").write_text(RECIPE)
    (recipes / "evaluate.py").write_text(EVALUATE)
    monkeypatch.setattr(sweep, "FOLDER", recipes)

    def run(*line):
        table = sweep.experiments.EXPERIMENTS
        names = [name for name in line if name in table and table[name].settings is not None]
        flags = [*FLAGS, *(["--seed", "3"] if "3" in line else [])]
        known = {name: sweep.settings(name, output / name, flags) for name in names}
        (recipes / "arguments.json").write_text(json.dumps(known))
        monkeypatch.setattr(sys, "argv", ["sweep.py", *line, "--output", str(output), *FLAGS])
        code = 0
        try:
            sweep.main()
        except SystemExit as end:
            code = end.code
        return (code, *capsys.readouterr())

    run.output = output
    return run


def starts(folder):
    return (folder / "starts").read_text().splitlines()


def test_runs_are_trained_scored_and_drawn(swept):
    code, out, _ = swept("s_coda_sq_t10", "s_coda_sq_lambda_1", "--grids", "7")
    assert code == 0
    record = json.loads((swept.output / "results.json").read_text())
    rows = {row["experiment"]: row for row in record["results"]}
    assert list(rows) == ["s_coda_sq_t10", "s_coda_sq_lambda_1"]
    for name, row in rows.items():
        # Those of all test images come before what the run itself says.
        assert (row["test_accuracy"], row["test_images"], row["note"]) == (0.75, 10_000, "a note")
        assert (row["localisation"], row["grids"]) == (0.5, 6)
        assert row["arguments"]["epochs"] == 2 and row["arguments"]["experiment"] == name
        (line,) = starts(swept.output / name)
        assert line.startswith(f"--experiment {name} --output") and "--fast --epochs 2" in line
    drawn = {path.name for path in swept.output.glob("figure-*")}
    assert drawn == {
        f"figure-{name}.{suffix}" for name in ("b1", "b3b") for suffix in ("png", "pdf")
    }
    assert "2 of 2 runs" in out


def test_a_failure_is_named_stops_nothing_and_is_tried_again(swept):
    (swept.output / "s_coda_sq_t10").mkdir(parents=True)
    broken = swept.output / "s_coda_sq_t10/broken"
    broken.touch()
    names = ("s_coda_sq_t10", "s_coda_sq_t50")
    code, out, err = swept(*names)
    assert code == 1
    assert "s_coda_sq_t10: failed with exit code 1: something broke" in err
    assert "results.json, 1 of 2 runs" in out and "s_coda_sq_t50: 75.00%" in out
    broken.unlink()
    code, out, _ = swept(*names)
    assert code == 0 and "2 of 2 runs" in out
    assert [len(starts(swept.output / name)) for name in names] == [2, 1]


def test_a_run_that_cannot_start_leaves_its_device_to_the_others(swept):
    # A folder where its output was to be written.
    (swept.output / "s_coda_sq_t10.log").mkdir(parents=True)
    code, out, err = swept("s_coda_sq_t10", "s_coda_sq_t50", "--at-once", "1")
    assert code == 1
    assert "s_coda_sq_t10: cannot be started: " in err and "Is a directory" in err
    assert "results.json, 1 of 2 runs" in out and "s_coda_sq_t50: 75.00%" in out


def test_finished_runs_are_kept_and_scored_on_other_grids_if_asked(swept):
    for grids in ("0", "5"):
        assert swept("s_coda_sq_t10", "--grids", grids)[0] == 0
    # A flag that is younger than the run changes nothing.
    metrics = swept.output / "s_coda_sq_t10/metrics.json"
    record = json.loads(metrics.read_text())
    del record["arguments"]["grow"]
    metrics.write_text(json.dumps(record))
    assert swept("s_coda_sq_t10", "--grids", "5", "--grid-size", "2")[0] == 0
    assert len(starts(swept.output / "s_coda_sq_t10")) == 1
    (row,) = json.loads((swept.output / "results.json").read_text())["results"]
    assert row["grids"] == 4


def test_finished_runs_with_other_flags_are_told(swept):
    assert swept("s_coda_sq_t10")[0] == 0
    assert swept("s_coda_sq_t50")[0] == 0
    record = json.loads((swept.output / "results.json").read_text())
    assert [row["experiment"] for row in record["results"]] == ["s_coda_sq_t10", "s_coda_sq_t50"]
    code, _, err = swept("s_coda_sq_t50", "--seed", "3")
    assert code == 2
    assert "holds s_coda_sq_t10 with another --seed. Repeat the flags" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["s_coda_sq_t1O"], "no experiment 's_coda_sq_t1O'. Did you mean s_coda_sq_t1"),
        (["mnist"], "mnist is no training of one net: `coda-keras mnist` runs it."),
        (["Fig. B.4"], "no experiment 'Fig. B.4'. Did you mean Fig. B."),
        (["s_coda_sq_t10", "--epoch", "3"], "--epoch 3. Did you mean --epochs?"),
        (["s_coda_sq_t10", "--grids", "-5"], "argument --grids: expected a whole number from 0"),
    ],
)
def test_mistakes_end_it_before_anything_runs(line, said, swept):
    code, out, err = swept(*line)
    assert code == 2 and out == ""
    assert said in err and err.count("\n") == 1
    assert not swept.output.exists()


def test_a_killed_run_is_given_time_to_be_lost_with_its_worker(monkeypatch, tmp_path):
    """A Ray worker that ends kills its run first, and must not say that the run has failed."""
    waited = []
    monkeypatch.setattr(sweep, "time", SimpleNamespace(sleep=waited.append))
    (tmp_path / "cifar10.py").write_text("import os; os.kill(os.getpid(), 9)")
    work = sweep.Sweep(tmp_path / "out", tmp_path, [], {"s_coda_sq_t10": None}, 0, 3)
    assert "failed with exit code -9" in sweep.train_and_score(work, "s_coda_sq_t10")
    assert waited == [sweep.LOST_WITHIN]


# Signals to the process that started it, once it listens itself.
SAVING = """
import os, signal, sys, time
def save(*_):
    time.sleep(float(sys.argv[1]))
    print("saved, apart from Ctrl-C:", os.getpgrp() == os.getpid(), flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, save)
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("seconds", "limit", "said", "code"),
    [(0.5, 1200, "saved, apart from Ctrl-C: True\n", 0), (600, 0.5, "", -signal.SIGKILL)],
)
def test_a_signal_ends_a_run_after_its_checkpoint(
    seconds, limit, said, code, monkeypatch, tmp_path
):
    started, popen = [], processes.subprocess.Popen

    def start(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(processes.subprocess, "Popen", start)
    monkeypatch.setattr(processes, "END_SECONDS", limit)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with (tmp_path / "log").open("w") as log, pytest.raises(SystemExit):
            processes.run([sys.executable, "-c", SAVING, str(seconds)], log)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert started[0].wait(60) == code
    assert (tmp_path / "log").read_text() == said


def test_figures_and_tables_stand_for_their_experiments():
    assert sweep.chosen(["Fig. B.3a", "s_coda_sq_t10"]) == [
        *("s_coda_sq_t10", "s_coda_sq_t1000", "s_coda_l2_t1000"),
    ]
    assert len(sweep.chosen(["Fig. B.1"])) == 7
    assert len(sweep.chosen(["Fig. B.3b"])) == 14


def test_every_gpu_has_a_run_of_its_own(swept, monkeypatch):
    monkeypatch.setattr("coda_keras.backend.accelerators", lambda: ["a", "b"])
    names = ("s_coda_sq_t10", "s_coda_sq_t50", "s_coda_sq_t100")
    for visible, expected in (("", {"0", "1"}), ("3,7,8", {"3", "7"})):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert set(sweep.visible_gpus()) == expected
    assert swept(*names, "--grids", "0")[0] == 0
    used = {starts(swept.output / name)[0].rpartition(" ")[2] for name in names}
    assert used == {"3", "7"}


# Figures.


def row(name, accuracy, localisation, **arguments):
    known = {"rescale": "squash", "temperature": 1000.0, "regularisation": 0.0}
    sizes = {"rank_scale": 0.125, "epochs": 2, "limit_train": None}
    return {
        "experiment": name,
        "parameters": 2_000_000,
        "test_accuracy": accuracy,
        "localisation": localisation,
        "grids": 40,
        "training_seconds": 90.2,
        "arguments": {**known, **sizes, **arguments},
    }


def test_figures_show_the_runs_beside_the_paper(monkeypatch, tmp_path):
    drawn = {}

    def keep(figure, paths):
        assert [path.suffix for path in paths] == [".png", ".pdf"]
        drawn[paths[0].stem] = figure

    monkeypatch.setattr("coda_keras.figures.save_figure", keep)
    sweep_figures.save(
        [
            {
                **row("s_coda_sq_t10", 0.5, 0.25, temperature=10.0),
                "published_rule_localisation": 0.125,
            },
            row("s_coda_sq_t1000", 0.375, None),
            row("s_coda_l2_lambda_0.1", 0.125, 0.5, temperature=64.0, rescale="l2"),
        ],
        tmp_path,
    )
    assert set(drawn) == {"figure-b1", "figure-b2", "figure-b3a", "figure-b3b"}
    accuracy, localisation = drawn["figure-b1"].axes
    assert accuracy.get_xscale() == "log"
    published, ours = accuracy.lines
    assert ours.get_xydata().tolist() == [[10, 0.5], [1000, 0.375]]
    assert published.get_xydata().tolist() == [[1000, 0.932]]
    published, ours, _ = localisation.lines
    # By the authors' rule, as theirs.
    assert ours.get_xydata().tolist() == [[10, 0.125]]
    assert published.get_xydata().tolist()[0] == [10, 0.3137] and len(published.get_xdata()) == 6
    assert drawn["figure-b1"].get_suptitle() == "ranks x 0.125, epochs: 2"
    (line,) = drawn["figure-b2"].axes[0].lines
    assert line.get_xydata().tolist() == [[2, 0.375]]
    (line,) = drawn["figure-b3b"].axes[0].lines
    assert list(line.get_ydata()) == [0.125]


def test_other_grids_than_the_paper_s_stand_without_its_localisation(monkeypatch, tmp_path):
    drawn = {}
    monkeypatch.setattr(
        "coda_keras.figures.save_figure", lambda f, paths: drawn.update({paths[0].stem: f})
    )
    small = {**row("s_coda_sq_t10", 0.5, 0.25, temperature=10.0), "grid_size": 2}
    sweep_figures.save([small], tmp_path)
    accuracy, localisation = drawn["figure-b1"].axes
    assert len(accuracy.lines) == 2
    ours, uniform = localisation.lines
    assert ours.get_xydata().tolist() == [[10, 0.25]] and set(uniform.get_ydata()) == {0.25}
    assert localisation.get_ylabel() == "localisation, 2x2"


def test_figures_are_drawn_from_a_file(monkeypatch, tmp_path, capsys):
    results = {"results": [row("s_coda_sq_t10", 0.5, 0.25, temperature=10.0)]}
    (tmp_path / "results.json").write_text(json.dumps(results))
    line = [str(tmp_path / "results.json"), "--output", str(tmp_path / "drawn")]
    monkeypatch.setattr(sys, "argv", ["sweep_figures.py", *line])
    sweep_figures.main()
    files = sorted((tmp_path / "drawn").iterdir())
    assert [path.name for path in files] == ["figure-b1.pdf", "figure-b1.png"]
    assert files[1].read_bytes().startswith(b"\x89PNG")
    assert "| s_coda_sq_t10 | 50.00% | 0.250 | 40 of 3x3 | 90 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "results.json is no JSON, or damaged"),
        ('{"test_accuracy": 0.5}', "results.json: expected a JSON object with results"),
        ('{"results": [1]}', "results.json: expected `results` as a list of runs"),
        ('{"results": [{"experiment": "s_coda_sq_t10"}]}', "results.json: expected `results` as"),
    ],
)
def test_other_files_than_results_are_told(content, said, monkeypatch, tmp_path, capsys):
    (tmp_path / "results.json").write_text(content)
    monkeypatch.setattr(sys, "argv", ["sweep_figures.py", str(tmp_path / "results.json")])
    with pytest.raises(SystemExit) as end:
        sweep_figures.main()
    assert end.value.code == 2 and said in capsys.readouterr().err
