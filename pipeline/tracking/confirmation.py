"""The winner on fresh seeds, as it is stored on the parent run and read from it."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow.entities import Run

__all__ = ["Confirmation"]


@dataclass(frozen=True)
class Confirmation:
    """The best trial, trained again on seeds that the search has not seen.

    Attributes:
        trial: its number. seeds: how many fresh seeds.
        accuracy, spread: mean and standard deviation of test accuracy over them.
        val_accuracy: mean validation accuracy over them.
        model: URI of the registered model, empty if none was registered.
    """

    trial: int
    seeds: int
    accuracy: float
    spread: float
    val_accuracy: float
    model: str = ""

    @property
    def metrics(self) -> dict[str, float]:
        return {
            "best/test/accuracy": self.accuracy,
            "best/test/accuracy_std": self.spread,
            "best/val/accuracy": self.val_accuracy,
        }

    @property
    def tags(self) -> dict[str, str]:
        return {
            "initlab.best_trial": str(self.trial),
            "initlab.confirmation_seeds": str(self.seeds),
            "initlab.model": self.model,
        }

    @classmethod
    def of(cls, parent: Run) -> Confirmation | None:
        """What a parent run holds; None if its winner has not been confirmed."""
        tags, metrics = parent.data.tags, parent.data.metrics
        if "initlab.best_trial" not in tags or "best/test/accuracy" not in metrics:
            return None
        return cls(
            int(tags["initlab.best_trial"]),
            int(tags["initlab.confirmation_seeds"]),
            metrics["best/test/accuracy"],
            metrics["best/test/accuracy_std"],
            metrics["best/val/accuracy"],
            tags["initlab.model"],
        )
