"""``make bench``: how fast the lab is beside what a competent user would write without it.

Every figure is a ratio of two sides that are measured in turn within one run. The peers
stand in ``peers.py`` and ``template/``, the lab's own side in ``engine.py``, what is asked
of whom in ``rows/``. Rows of single trainings need torch and numpy alone.
"""

from benchmarks.environment import ENVIRONMENT as ENVIRONMENT  # before anything imports the lab
