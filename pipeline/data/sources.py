"""The named datasets: three that ship with scikit-learn, three that OpenML serves."""

import warnings
from collections.abc import Callable

import numpy as np
from sklearn import datasets

from pipeline.data.raw import Raw, checked_inputs, checked_labels
from pipeline.errors import RunError, in_one_line

__all__ = ["SOURCES"]

# name -> OpenML's name and version, the shape of one image, the rows of its own training part
OPENML = {
    "mnist": ("mnist_784", 1, (28, 28), 60_000),
    "fashion_mnist": ("Fashion-MNIST", 1, (28, 28), 60_000),
    "cifar10": ("CIFAR_10", 1, (3, 32, 32), 50_000),
}


def _bundled(
    name: str, load: Callable[..., tuple[np.ndarray, np.ndarray]], flat_image: tuple[int, ...] | None = None
) -> Callable[[], Raw]:
    def read() -> Raw:
        x, y = load(return_X_y=True)
        return Raw(name, x.astype(np.float32), y.astype(np.int64), flat_image=flat_image)

    return read


def _openml(name: str) -> Callable[[], Raw]:
    def read() -> Raw:
        title, version, shape, train_rows = OPENML[name]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of each retry; the error says it all
                x, y = datasets.fetch_openml(title, version=version, return_X_y=True, as_frame=False, n_retries=1)
        except Exception as error:  # whatever the network, the cache or the parser says
            hint = "give a local file with dataset.path=FILE.npz"
            raise RunError(f"dataset={name} could not be fetched from OpenML ({in_one_line(error)}); {hint}") from None
        images = checked_inputs(name, "x", np.asarray(x).reshape(-1, *shape).astype(np.uint8))
        labels = checked_labels(name, "y", np.asarray(y).astype(np.int64), len(images))
        return Raw(name, images[:train_rows], labels[:train_rows], images[train_rows:], labels[train_rows:])

    return read


SOURCES: dict[str, Callable[[], Raw]] = {
    "digits": _bundled("digits", datasets.load_digits, (1, 8, 8)),
    "breast_cancer": _bundled("breast_cancer", datasets.load_breast_cancer),
    "wine": _bundled("wine", datasets.load_wine),
    **{name: _openml(name) for name in OPENML},
}
