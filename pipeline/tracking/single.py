"""Writes the run of a single training."""

from pipeline.config import Config
from pipeline.data import Dataset
from pipeline.names import own_name
from pipeline.records import MemberRecord, TrialRecord, Verdict
from pipeline.tracking.children import OWNER
from pipeline.tracking.entities import dataset_input, identity_tags
from pipeline.tracking.finished import ToClient
from pipeline.tracking.outage import Outage
from pipeline.tracking.prepared import finished
from pipeline.tracking.reading import equals, search
from pipeline.tracking.store import open_store
from pipeline.tracking.trial import TrialRun

__all__ = ["track_single"]


def track_single(
    config: Config, data: Dataset, record: MemberRecord, verdict: Verdict, started: float, outage: Outage
) -> str:
    """Writes the run of a single training, once, however often that has to be tried; returns its id."""
    owner = own_name()
    tags = identity_tags("train", config, None, data.digest) | {OWNER: owner}
    trial = TrialRun(0, config, {}, TrialRecord([record], verdict), None, started)
    run = finished(trial, tags, dataset_input(data))

    def write() -> str:
        store = open_store(config)
        for found in search(store, equals(f"tags.`{OWNER}`", owner)):
            if found.info.status == run.status:
                return str(found.info.run_id)
            store.client.delete_run(found.info.run_id)
        (run_id,) = ToClient(store).write([run])
        return run_id

    return outage.patiently(write)
