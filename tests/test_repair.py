"""MLflow's side of a study, held against the search's and mended: in a real store."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_runs import run_of, trial_of

from pipeline.loading import load_dataset
from pipeline.tracking import Outage, Outcome, Spool, StudyTracker, compare, mend, read_study, spool_dir
from pipeline.tracking.packing import pack
from pipeline.tracking.reading import search
from pipeline.tracking.repair import Disagreement

PARENT, OWNER = "mlflow.parentRunId", "initlab.owner"


def tracker_of(config, alive=None):
    axes = ["weight_init.scale", "bias_init.value"]
    tracker = StudyTracker(config, "s", axes, load_dataset(config), "first", alive=alive)
    tracker.begin()
    return tracker


@pytest.fixture
def study(quick):
    """A study of four trials, the last of them pruned."""
    config = quick("study.name=s")
    tracker = tracker_of(config)
    tracker.log(
        [trial_of(config, 0, 0.5), trial_of(config, 1, 0.6), trial_of(config, 2, 0.7), trial_of(config, 3, None)]
    )
    return tracker


FOUR = {0: Outcome(False, 0.5), 1: Outcome(False, 0.6), 2: Outcome(False, 0.7), 3: Outcome(True, None)}


def nobody(owner):
    return False


def compared(study, finished=FOUR, alive=nobody):
    return compare(study.config, "s", lambda: finished, alive)


def mended(study, finished=FOUR, alive=nobody, **more):
    return mend(study.config, "s", lambda: finished, Outage(study.config), alive, **more)


def children(study):
    """Trial, status and id of the child runs, the earliest first."""
    found = search(study.store, f"tags.`{PARENT}` = '{study.parent}'")
    rows = [(int(run.data.tags["initlab.trial"]), run.info.status, run.info.run_id) for run in found]
    return sorted(rows, key=lambda row: row[0])


def begun(study, trial, owner=""):
    """A child run that was begun through MLflow's client."""
    tags = {PARENT: study.parent, "initlab.trial": str(trial), OWNER: owner}
    return study.store.client.create_run(study.store.experiment, tags=tags).info.run_id


def spooled(study, owner, *runs):
    """Runs on disk that the process has left which put them there."""
    spool = Spool(spool_dir(study.config, "s") / owner)
    spool.open()
    for serial, run in enumerate(runs):
        spool.put(serial, int(run.tags["initlab.trial"]), pack(run))
    spool.close()


def test_where_nothing_is_wrong_nothing_is_said_or_done(study):
    before = children(study)
    assert not compared(study)
    assert compared(study).sentences() == []
    done = mended(study)
    assert (done.delivered, done.deleted, done.missing, done.damaged) == (0, {}, (), [])
    assert children(study) == before


def test_a_study_that_mlflow_does_not_know_is_missing_whole(quick):
    config = quick("study.name=s")
    assert compare(config, "s", lambda: FOUR, nobody) == Disagreement(missing=(0, 1, 2, 3))
    assert mend(config, "s", lambda: FOUR, Outage(config), nobody).missing == (0, 1, 2, 3)


def test_a_finished_trial_without_a_run_is_missing(study):
    more = FOUR | {4: Outcome(False, 0.1), 9: Outcome(True, None)}
    assert compared(study, more) == Disagreement(missing=(4, 9))
    assert compared(study, more).sentences() == ["2 trials without a run in MLflow: 4, 9"]
    assert mended(study, more).missing == (4, 9)


def test_of_two_runs_of_a_trial_the_earliest_stays(study):
    first = children(study)
    again = [trial_of(study.config, 1, 0.6), trial_of(study.config, 3, None)]
    study.log([replace(trial, started=200.0) for trial in again])
    assert compared(study) == Disagreement(doubled=(1, 3))
    assert mended(study).deleted == {"doubled": 2}
    assert children(study) == first
    assert not compared(study)


def test_of_two_runs_the_one_that_agrees_with_the_search_stays(study):
    study.log([trial_of(study.config, 1, 0.9)])
    told = FOUR | {1: Outcome(False, 0.9)}
    assert compared(study, told) == Disagreement(doubled=(1,))
    assert mended(study, told).deleted == {"doubled": 1}
    assert not compared(study, told)


def test_a_run_that_nobody_writes_any_more_goes_and_its_trial_is_missing(study):
    left = begun(study, 4, "dead")
    told = FOUR | {4: Outcome(False, 0.4)}
    assert compared(study, told) == Disagreement(missing=(4,), unfinished=(4,))
    done = mended(study, told)
    assert done.deleted == {"left unfinished": 1}
    assert done.missing == (4,)
    assert left not in {run_id for *_, run_id in children(study)}


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_a_run_that_was_closed_half_written_is_no_run(study, status):
    study.store.client.set_terminated(begun(study, 4), status)
    told = FOUR | {4: Outcome(False, 0.4)}
    assert compared(study, told) == Disagreement(missing=(4,), unfinished=(4,))
    assert mended(study, told).deleted == {"left unfinished": 1}


def test_what_a_writer_that_lives_is_at_is_left_alone(study):
    under_way, left = begun(study, 4, "living"), begun(study, 5, "dead")
    alive = {"living"}.__contains__
    assert compared(study, alive=alive) == Disagreement(unfinished=(5,))
    assert mended(study, alive=alive).deleted == {"left unfinished": 1}
    there = {run_id for *_, run_id in children(study)}
    assert under_way in there
    assert left not in there


def test_a_run_of_a_trial_that_the_search_does_not_hold_goes(study):
    told = {number: outcome for number, outcome in FOUR.items() if number != 2}
    assert compared(study, told) == Disagreement(extra=(2,))
    assert mended(study, told, alive=lambda owner: owner == "first").deleted == {}  # it may be being told
    assert mended(study, told).deleted == {"of no finished trial": 1}
    assert not compared(study, told)


def test_another_value_or_end_than_the_search_has_is_told(study):
    told = FOUR | {0: Outcome(False, 0.5000000000000001), 2: Outcome(True, None)}
    assert compared(study, told) == Disagreement(differs=(0, 2))


def test_what_a_dead_writer_left_on_disk_is_delivered_once(study):
    told = FOUR | {n: Outcome(False, 0.5) for n in (4, 5)} | {6: Outcome(True, None)}
    spooled(study, "dead", run_of(4), run_of(6, value=None))
    spooled(study, "gone", run_of(0), run_of(5))
    begun(study, 5, "gone")  # it was about to
    assert compared(study, told) == Disagreement(missing=(4, 5, 6), waiting=(4, 5, 6), unfinished=(5,))
    done = mended(study, told)
    assert done.deleted == {"left unfinished": 1}
    assert done.missing == ()
    assert not compared(study, told)
    assert len(children(study)) == 7
    assert not spool_dir(study.config, "s").exists()
    assert mended(study, told).delivered == 0
    trials = read_study(study.config, "s").trials.set_index("trial")
    assert trials.loc[4, "metrics.val/accuracy"] == run_of(4).metrics[2].value


def test_what_the_search_does_not_know_is_not_delivered(study):
    """The search was begun anew under the old name."""
    spooled(study, "dead", run_of(4), run_of(8), run_of(5, study="another"))
    told = FOUR | {4: Outcome(False, 0.25), 5: Outcome(False, 0.5)}
    assert mended(study, told).delivered == 0
    assert len(children(study)) == 4
    assert not spool_dir(study.config, "s").exists()


def test_a_damaged_file_is_set_aside_and_the_rest_delivered(study):
    spooled(study, "dead", run_of(4), run_of(5))
    file = spool_dir(study.config, "s") / "dead" / "00000000-4.run"
    file.write_bytes(file.read_bytes()[:50])
    told = FOUR | {n: Outcome(False, 0.5) for n in (4, 5)}
    done = mended(study, told)
    assert done.delivered == 1
    assert done.missing == (4,)
    assert [path.name for path in done.damaged] == ["00000000-4.damaged"]
    assert mended(study, told).damaged == []


LIVE = """
import sys, time
from pathlib import Path
from pipeline.tracking import Spool
spool = Spool(Path(sys.argv[1]))
assert spool.open()
spool.put(0, 4, Path(sys.argv[2]).read_bytes())
print("ready", flush=True)
time.sleep(600)
"""


def test_what_waits_with_a_writer_that_lives_is_its_own(study, tmp_path):
    (tmp_path / "run").write_bytes(pack(run_of(4)))
    place = spool_dir(study.config, "s") / "living"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", LIVE, place, tmp_path / "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "ready\n"
        told = FOUR | {4: Outcome(False, 0.5)}
        done = mended(study, told)
        assert (done.delivered, done.missing) == (0, ())
        assert compared(study, told) == Disagreement(missing=(4,), waiting=(4,))
        process.kill()
    done = mended(study, told)
    assert (done.delivered, done.missing) == (1, ())


def test_a_run_that_is_there_is_not_written_again(study):
    """Its answer was lost."""
    run = study.prepare(trial_of(study.config, 0, 0.5))
    before = children(study)
    study.write([run, study.prepare(trial_of(study.config, 4, 0.1))], again=True)
    assert [row for row in children(study) if row[0] != 4] == before
    assert [(trial, status) for trial, status, _ in children(study)][-1] == (4, "FINISHED")


def test_what_is_there_in_part_is_written_whole(study):
    half, other = begun(study, 4, "first"), begun(study, 5, "living")
    again = tracker_of(study.config, {"living"}.__contains__)
    again.write([study.prepare(trial_of(study.config, 4, 0.1))], again=True)
    there = {run_id: (trial, status) for trial, status, run_id in children(study)}
    assert half not in there
    assert other in there
    assert list(there.values()).count((4, "FINISHED")) == 1


def test_tidying_takes_away_what_this_writer_began_alone(study):
    own, other = begun(study, 4, "first"), begun(study, 5, "another")
    study.tidy()
    there = {run_id for *_, run_id in children(study)}
    assert own not in there
    assert other in there
    assert len(there) == 5


def test_of_runs_on_disk_one_that_the_store_never_takes_keeps_no_other_out(study, monkeypatch):
    monkeypatch.setattr("pipeline.tracking.repair.RUN_PATIENCE_S", 1.0)
    bad = run_of(4)
    spooled(study, "dead", bad, run_of(5))
    place = study.store.client.get_experiment(study.store.experiment).artifact_location.removeprefix("file://")
    artifact = Path(place) / bad.run_id / "artifacts" / "config.yaml"
    artifact.parent.mkdir(parents=True)
    artifact.symlink_to("/dev/full")  # no room for this one
    told = FOUR | {n: Outcome(False, 0.5) for n in (4, 5)}
    done = mended(study, told)
    assert [path.name for path in done.refused] == ["00000000-4.run"]
    assert (done.delivered, done.missing) == (1, ())
    assert compared(study, told) == Disagreement(missing=(4,), waiting=(4,))
    artifact.unlink()
    assert mended(study, told).delivered == 1
    assert not compared(study, told)
