"""Whether Optuna and MLflow hold the same trials of a study, read with their own libraries."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import optuna
from mlflow.tracking import MlflowClient
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

__all__ = ["Agreement", "agreement", "journal", "trials_of"]

ENDED = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED"}


@dataclass(frozen=True)
class Agreement:
    """Counts of what is wrong, all 0 where a study is whole.

    Attributes:
        lost: numbers below the asked-for total that no ended trial has. repeated: trials, or runs of a trial, beyond
            the first of a number. running: trials or runs that are RUNNING or WAITING. different: trials whose run
            has another value, status or set of parameters.
    """

    lost: int
    repeated: int
    running: int
    different: int

    def __str__(self) -> str:
        return f"lost {self.lost}, repeated {self.repeated}, running {self.running}, different {self.different}"


def journal(home: Path, study: str) -> BaseStorage:
    return JournalStorage(JournalFileBackend(str(home / "mlruns" / "optuna" / f"{study}.journal")))


def trials_of(storage: BaseStorage, study: str) -> list[FrozenTrial]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.load_study(study_name=study, storage=storage).get_trials(deepcopy=False)


def agreement(storage: BaseStorage, study: str, uri: str, total: int) -> Agreement:
    trials = trials_of(storage, study)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("initlab").experiment_id
    children = []
    token = None
    while token != "":
        condition = f"tags.`initlab.study` = '{study}' AND tags.`initlab.kind` = 'trial'"
        page = client.search_runs([experiment], condition, page_token=token, max_results=1000)
        children += page
        token = page.token or ""
    runs = {int(run.data.tags["initlab.trial"]): run for run in children}
    ended = {trial.number: trial for trial in trials if trial.state in ENDED}
    counts = Counter(trial.number for trial in trials)
    lost = len(set(range(total)) - ended.keys()) + len(ended.keys() - runs.keys())
    repeated = sum(counts.values()) - len(counts) + len(children) - len(runs) + max(len(trials) - total, 0)
    running = sum(t.state in (TrialState.RUNNING, TrialState.WAITING) for t in trials)
    running += sum(run.info.status == "RUNNING" for run in children)
    different = sum(number not in ended or not _same(ended[number], run) for number, run in runs.items())
    return Agreement(lost, repeated, running, different)


def _same(trial: FrozenTrial, run) -> bool:
    values = {key: str(value) for key, value in trial.user_attrs["values"].items()}
    same = run.info.status == ENDED[trial.state]
    same = same and all(run.data.params.get(key) == value for key, value in values.items())
    return same and (trial.state == TrialState.PRUNED or run.data.metrics["search/objective"] == trial.value)
