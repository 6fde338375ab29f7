"""What is calculated from the times of a cluster's benchmark."""

from benchmarks import cluster

STAGES = {"reading": 1e-5, "decoding": 1e-3, "explaining": 1e-2, "writing": 1e-3}


def test_machines_share_the_work_and_not_the_disk(monkeypatch):
    monkeypatch.setattr(cluster, "IMAGENET", 3_600_000)
    record = {"stages": {**STAGES, "bytes_read": 10**5, "bytes_written": 3 * 10**5}}
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in cluster.calculation(record)[2:]
    ]
    assert rows == [
        ["1", "0.10", "1.00", "10.00", "1.00", "0.30", "explaining"],
        ["10", "0.10", "0.10", "1.00", "0.10", "0.30", "explaining"],
        ["100", "0.10", "0.01", "0.10", "0.01", "0.30", "writing"],
    ]


def test_rates_stand_beside_that_of_one_process():
    row = {"images": 5000, "start_up_seconds": 3.2, "peak_mib": 900.4, "bytes_per_image": 2000}
    one = {**row, "what": cluster.ONE, "processes": 1, "images_per_second": 100.0}
    wide = {**row, "what": cluster.ACTORS, "processes": 2, "images_per_second": 125.0}
    lines = cluster.table([one, wide])[2:]
    assert lines[0] == "| one process | 5,000 | 100.0 | 1.00 | 3 | 900 | 100 |"
    assert lines[1].startswith("| 2 actors of one core | 5,000 | 125.0 | 1.25 |")
