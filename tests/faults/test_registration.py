"""The winner's registration, each of its requests failing once in each way: one version, with its network."""

from itertools import count

import mlflow
import numpy as np
import pytest
from faulty_proxy import nth
from mlflow.tracking import MlflowClient

from pipeline.config import compose
from pipeline.loading import load_dataset
from pipeline.runner import network
from pipeline.tracking import Outage, open_store, register_winner
from pipeline.tracking.store import mlflow_at

pytestmark = pytest.mark.slow

ORIGIN = {"initlab.trial": "7", "initlab.seed": "5001"}


@pytest.mark.parametrize("fault", ["drop", "500", "swallow", "cut"])
@pytest.mark.filterwarnings("ignore")  # of MLflow's own imports
def test_each_request_of_a_registration_may_fail_once(proxy, server, fault):
    config = compose([f"tracking.uri={proxy.address}", "model.width=4", "model.depth=1"])
    data = load_dataset(config)
    net = network(config, data)
    state = {key: value.numpy() for key, value in net.state_dict().items()}
    store, outage = open_store(config), Outage(config)
    direct = MlflowClient(f"http://127.0.0.1:{server[0]}", f"http://127.0.0.1:{server[0]}")
    for failing in count(1):
        run_id, name = direct.create_run(store.experiment).info.run_id, f"initlab-{failing}"
        before = proxy.counts[fault]
        proxy.fault = nth(failing, fault)
        uri = register_winner(store, run_id, name, net, state, data, ORIGIN, outage.patiently)
        proxy.fault = lambda: ""
        assert uri == f"models:/{name}/1", failing
        (version,) = direct.search_model_versions(f"name = '{name}'")
        model = direct.get_logged_model(version.source.removeprefix("models:/"))
        assert (str(model.status), model.source_run_id) == ("READY", run_id), failing
        assert [output.model_id for output in direct.get_run(run_id).outputs.model_outputs] == [model.model_id]
        (found,) = direct.search_logged_models([store.experiment], f"source_run_id = '{run_id}'")
        assert found.model_id == model.model_id, failing
        if proxy.counts[fault] == before:  # there was no such request any more
            break
    print(f"{fault}: each of {failing - 1} requests")
    assert failing > 10
    # As one does that follows a process which was killed; and for another winner of the study.
    assert register_winner(store, run_id, name, net, state, data, ORIGIN, outage.patiently) == uri
    other = ORIGIN | {"initlab.trial": "8"}
    assert register_winner(store, run_id, name, net, state, data, other, outage.patiently) == f"models:/{name}/2"
    raw = (data.x_test * data.std + data.mean).numpy()
    with mlflow_at(proxy.address):
        given = np.asarray(mlflow.pyfunc.load_model("models:/initlab-3/1").predict(raw))
    expected = net(data.x_test).softmax(-1).detach().numpy()
    np.testing.assert_allclose(given, expected, atol=1e-5)
