"""What the engine found worth a line to the user, once: whoever says a note takes it away."""

__all__ = ["notes"]

notes: list[str] = []
"""In the order in which they were taken."""
