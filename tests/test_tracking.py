from types import SimpleNamespace

import pytest
from mlflow.exceptions import MlflowException

from pipeline.tracking.finished import log_dataset


@pytest.mark.parametrize(("failures", "passes"), [(0, True), (1, True), (2, False)])
def test_a_dataset_that_another_process_just_added_is_asked_for_again(failures, passes):
    """As MLflow refuses it: UNIQUE constraint failed, for the second of two processes."""
    calls = []

    def log_inputs(run_id, datasets):
        calls.append((run_id, datasets))
        if len(calls) <= failures:
            raise MlflowException("UNIQUE constraint failed: datasets.digest")

    store = SimpleNamespace(client=SimpleNamespace(log_inputs=log_inputs))
    if passes:
        log_dataset(store, "run", "data")
        assert calls == [("run", ["data"])] * (failures + 1)
    else:
        with pytest.raises(MlflowException):
            log_dataset(store, "run", "data")
