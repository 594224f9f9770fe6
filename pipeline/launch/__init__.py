"""Workers that share a study: as processes of this host, or as Slurm jobs."""

from typing import TYPE_CHECKING

from pipeline.lazy import lazily

if TYPE_CHECKING:
    from pipeline.launch.start import check_launch, launch

__all__ = ["check_launch", "launch"]

# A Slurm job imports its task alone.
__getattr__ = lazily(__name__, {"check_launch": "start", "launch": "start"})
