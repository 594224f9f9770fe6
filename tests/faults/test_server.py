"""A tracking server that is refused, answers 500, loses answers or says nothing: nothing is lost, nothing doubled."""

import os
import signal
import sqlite3
import time

import pytest
from faulty_proxy import FAULTS, sometimes
from laboratory import SEED, assert_whole, held_by

pytestmark = pytest.mark.slow

AWAY_S = float(os.environ.get("INITLAB_AWAY_S", "120"))
TRIALS = "search.n_trials=60"


def told(lab, word):
    """Lines that the user was told of the server."""
    return [line for line in lab.said.splitlines() if "the tracking server at" in line and word in line]


def logged(database):
    return len(held_by(database).runs)


def test_a_server_that_is_away_loses_and_doubles_nothing(lab, server, proxy, reference):
    """In the middle of the study, for two minutes."""
    _, database = server
    many = "search.n_trials=240"
    study = lab(many, f"tracking.uri={proxy.address}")
    study.start()
    study.wait_until(lambda: logged(database) >= 20)
    proxy.down()
    gone, before = time.monotonic(), study.finished
    study.wait_until(lambda: time.monotonic() > gone + AWAY_S, AWAY_S + 60)
    during, waiting = study.finished - before, len(study.kept)
    there = logged(database)
    proxy.up()
    assert study.end() == 0, study.said_errors
    print(f"away for {AWAY_S:g} s: {there} trials were there, {during} more were trained, {waiting} waited on disk")
    assert during > 0
    assert waiting > 0
    assert len(told(study, "does not answer")) == 1
    assert len(told(study, "answers again")) == 1
    assert study.kept == []
    assert study.said_errors == ""
    assert_whole(held_by(database), reference(many))


@pytest.mark.parametrize("fault", ["500", "drop", "silent", "swallow"])
def test_whatever_the_server_does_instead_of_answering(lab, server, proxy, reference, fault):
    _, database = server
    study = lab(TRIALS, f"tracking.uri={proxy.address}")
    study.start()
    study.wait_until(lambda: logged(database) >= 5)
    proxy.fault = lambda: fault
    study.wait_until(lambda: len(study.kept) >= 3)
    time.sleep(5)
    proxy.fault = lambda: ""
    assert study.end() == 0, study.said_errors
    print(f"requests: {dict(proxy.counts)}")
    assert len(told(study, "does not answer")) == len(told(study, "answers again")) == 1
    assert_whole(held_by(database), reference(TRIALS))


@pytest.mark.parametrize("faults", [("swallow",), tuple(f for f in FAULTS if f != "silent")], ids=["swallow", "all"])
def test_requests_that_fail_at_random_leave_each_trial_once(lab, server, proxy, reference, faults):
    _, database = server
    few = "search.n_trials=24"
    print(f"INITLAB_FAULT_SEED={SEED}")
    study = lab(few, f"tracking.uri={proxy.address}")
    study.start()
    study.wait_until(lambda: logged(database) >= 1)
    proxy.fault = sometimes(SEED, 0.05, faults)
    assert study.end() == 0, study.said_errors
    print(f"requests: {dict(proxy.counts)}")
    assert sum(proxy.counts[fault] for fault in faults) > 3
    assert_whole(held_by(database), reference(few))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("fault", ["drop", "silent", "slow"])
def test_a_signal_while_it_is_away_keeps_what_waits_for_the_next_time(
    lab, server, proxy, reference, number, code, fault
):
    _, database = server
    study = lab(TRIALS, f"tracking.uri={proxy.address}")
    study.start()
    study.wait_until(lambda: logged(database) >= 3)
    if fault == "slow":
        proxy.delay = 0.7
    else:
        proxy.fault = lambda: fault
    study.wait_for_trials(12, of=60)
    study.signal(number)
    sent = time.monotonic()
    assert study.end(60) == code
    took = time.monotonic() - sent
    kept = len(study.kept)
    print(f"ended after {took:.1f} s, {kept} runs kept on disk")
    assert took < 10
    assert kept > 0
    assert study.said_errors.count("\n") == 1
    proxy.fault, proxy.delay = (lambda: ""), 0.0
    again = lab(TRIALS, f"tracking.uri={proxy.address}")
    said = again.run()
    assert f"{kept} runs that had waited on disk: delivered" in said
    assert "training them again" not in said
    assert again.kept == []
    assert_whole(held_by(database), reference(TRIALS))


def test_what_a_killed_process_leaves_on_disk_is_delivered_by_the_next(lab, server, proxy, reference):
    _, database = server
    study = lab(TRIALS, f"tracking.uri={proxy.address}")
    study.start()
    study.wait_until(lambda: logged(database) >= 3)
    proxy.fault = lambda: "swallow"  # so that runs are half there as well
    study.wait_until(lambda: len(study.kept) >= 5)
    study.signal(signal.SIGKILL)
    assert study.end(60) == -signal.SIGKILL
    kept = len(study.kept)
    proxy.fault = lambda: ""
    said = lab(TRIALS, f"tracking.uri={proxy.address}").run()
    print(f"{kept} runs kept on disk")
    assert f"{kept} runs that had waited on disk: delivered" in said
    assert_whole(held_by(database), reference(TRIALS))


def test_a_server_that_stays_away_is_an_error_that_says_what_waits_where(lab, server, proxy, reference):
    _, database = server
    study = lab(TRIALS, f"tracking.uri={proxy.address}", "tracking.patience_s=3")
    study.start()
    study.wait_until(lambda: logged(database) >= 3)
    proxy.down()
    assert study.end() == 1
    waiting = len(study.kept)
    (line,) = study.said_errors.splitlines()
    assert f"{waiting} runs kept in" in line
    assert "for the next `initlab sweep` of the study to deliver" in line
    assert waiting > 0
    proxy.up()
    said = lab(TRIALS, f"tracking.uri={proxy.address}").run()
    assert f"{waiting} runs that had waited on disk: delivered" in said
    assert_whole(held_by(database), reference(TRIALS))


def test_a_password_in_its_address_is_never_shown(lab, server, proxy):
    _, database = server
    address = proxy.address.replace("http://", "http://someone:pa55word@")
    study = lab(TRIALS, f"tracking.uri={address}")
    study.start()
    study.wait_until(lambda: logged(database) >= 3)
    proxy.down()
    study.wait_until(lambda: len(told(study, "does not answer")) == 1)
    study.signal(signal.SIGTERM)
    assert study.end(60) == 143
    assert "pa55word" not in study.said + study.said_errors
    assert all(b"pa55word" not in path.read_bytes() for path in study.folder.rglob("*") if path.is_file())


def test_the_run_of_a_single_training_waits_for_the_server(lab, server, proxy):
    _, database = server
    print(f"INITLAB_FAULT_SEED={SEED}")
    at_random = sometimes(SEED, 0.1, ("swallow", "500"))
    # The first ones ask whether the server is there at all, before anything is trained. One fails for certain.
    proxy.fault = lambda: "" if proxy.counts.total() < 4 else "500" if not proxy.counts["500"] else at_random()
    done = lab().command("train", "trainer.epochs=2", f"tracking.uri={proxy.address}")
    print(f"requests: {dict(proxy.counts)}")
    assert done.returncode == 0, done.stderr
    assert [status for status, _ in trainings(database)] == ["FINISHED"]


def trainings(database):
    connection = sqlite3.connect(database)
    try:
        return connection.execute(
            "SELECT status, runs.run_uuid FROM runs JOIN tags t ON t.run_uuid = runs.run_uuid"
            " WHERE t.key = 'initlab.kind' AND t.value = 'train' AND lifecycle_stage = 'active'"
        ).fetchall()
    finally:
        connection.close()
