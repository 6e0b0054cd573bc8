from adiabat.training.metrics_log import MetricsLog, read_metrics


def test_lines_after_the_checkpoint_are_dropped_on_resuming(tmp_path):
    log = MetricsLog(tmp_path, 0, tensorboard=False)
    for step in (1, 2, 3):
        log.write("train", step, {"loss": 1.0 / step})
    log.close()
    log = MetricsLog(tmp_path, 2, tensorboard=False)
    log.write("train", 3, {"loss": 9.0})
    log.close()
    assert [(line["step"], line["loss"]) for line in read_metrics(tmp_path / "metrics.jsonl")] == [
        (1, 1.0),
        (2, 0.5),
        (3, 9.0),
    ]


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "train", "step": 1}\n{"kind": "train", "st')
    assert read_metrics(path) == [{"kind": "train", "step": 1}]


def test_tensorboard_events_are_written_when_asked(tmp_path):
    log = MetricsLog(tmp_path, 0, tensorboard=True)
    log.write("train", 1, {"loss": 1.0})
    log.close()
    assert list((tmp_path / "tensorboard").glob("events.*"))
