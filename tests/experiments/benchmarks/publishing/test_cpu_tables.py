from experiments.benchmarks.publishing.cpu_tables import markdown


def test_a_result_that_is_there_is_a_row():
    spread = {"median": 0.5, "low": 0.4, "high": 0.6}
    seconds = {
        side: {"wall_s": {"median": s, "low": s / 2}}
        for side, s in (("ours", 0.002), ("ncdhw", 4.0), ("grouped", 1.0))
    }
    row = {"part": "depthwise", "case": "a", "ratio": spread, "cpu_ratio": spread, "seconds": seconds}
    batch = {
        **{**row, "part": "pipeline", "case": "b", "against": "grouped", "patches_per_s": spread},
        **{"host_cpu_ms_a_batch": 0.125, "bytes_to_device_a_batch": 2_500_000},
    }
    record = {
        "targets": [{"target": "fast: at most 1", "measured": 0.5, "case": "a", "met": False}],
        "results": [{**row, "against": "ncdhw"}, {**row, "against": "grouped"}, batch],
    }
    text = markdown(record)
    assert "| fast: at most 1 | 0.5 | a | **missed** |" in text
    assert "| a | 2 ms | 4 s | 0.5 (0.4-0.6) | 0.0005 | 0.5 (0.4-0.6) | 2 |" in text
    assert "| b | 0.5 (0.4-0.6) | 0.125 | 2.5 |" in text
    assert "compile" not in text
