"""Whether a study could be begun, found out before anything is written."""

from pipeline.config import Config, file_of
from pipeline.databases import check_database
from pipeline.errors import UsageError
from pipeline.folders import check_writable
from pipeline.search.points import first_points
from pipeline.search.sampler import grid_size
from pipeline.search.space import axes_of
from pipeline.search.stops import check_stops

__all__ = ["check_search"]

KEY = "search.storage"
LARGEST_GRID = 1_000_000


def check_search(config: Config) -> None:
    """Raises ``UsageError`` for what is wrong with the axes, the first points, the pruner or the storage."""
    axes = axes_of(config)
    if not axes:
        raise UsageError.of("search.space", config.search.space, "holds no axis that could change anything")
    if config.search.sampler == "grid" and (size := grid_size(config, axes)) > LARGEST_GRID:
        allowed = f"a grid of {size} points; it must have at most {LARGEST_GRID}: take axes away, or choices"
        raise UsageError.of("search.grid_points", config.search.grid_points, allowed)
    check_stops(config)
    first_points(config, axes)
    if config.search.storage is not None:
        _check_storage(config.search.storage)


def _check_storage(place: str) -> None:
    file = file_of(place)
    if file is None:
        _check_server(place)
        return
    check_writable(file.parent, KEY, place)
    if file.exists() and not file.is_file():
        raise UsageError.of(KEY, place, "is no file; it must be a journal file or a database URL")


def _check_server(place: str) -> None:
    try:
        check_database(place)
    except Exception as error:  # SQLAlchemy's, the driver's, or an import that fails; their words may quote a password
        raise UsageError.of(KEY, place, f"can't be opened ({type(error).__name__})") from None
