"""Workers that share a study: as processes of this host, or as Slurm jobs."""

from pipeline.launch.start import check_launch, launch

__all__ = ["check_launch", "launch"]
