"""``initlab repair``: mends what a crash has left of a study, without training."""

from collections.abc import Sequence

from pipeline import tracking
from pipeline.agreement import outcomes
from pipeline.config import Config
from pipeline.console import note, say
from pipeline.errors import UsageError
from pipeline.names import counted
from pipeline.search import living, put_back_lost, studies
from pipeline.tracking import Outage, check_store

__all__ = ["repair"]


def repair(config: Config, flags: Sequence[str] = ()) -> int:
    """Mends all studies, or the one that ``study.name`` names."""
    names = [study.name for study in studies(config) if config.study.name in (None, study.name)]
    if not names and config.study.name is not None:
        raise UsageError.of("study.name", config.study.name, "no such study; `initlab status` lists them")
    check_store(config)
    for name in names:
        say(f"study {name}: {'; '.join(_mended(config, name)) or 'nothing to mend'}")
    return 0


def _mended(config: Config, study: str) -> list[str]:
    """What was done, in words."""
    lost = put_back_lost(config, study)
    done = tracking.mend(config, study, outcomes(config, study), Outage(config, note), living(config, study))
    said = {
        f"{counted(lost, 'trial')} put back, to be given again, as nobody runs them any more": lost,
        f"{counted(done.delivered, 'run')} that waited on disk delivered": done.delivered,
        **{f"{counted(count, 'run')} deleted: {why}": count for why, count in done.deleted.items()},
        f"{counted(len(done.damaged), 'file')} without a run that can be read set aside": len(done.damaged),
        f"{counted(len(done.missing), 'finished trial')} without a run, which `initlab sweep` trains again": len(
            done.missing
        ),
    }
    return [text for text, count in said.items() if count]
