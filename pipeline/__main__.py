"""``python -m pipeline`` is the ``initlab`` command."""

from pipeline.cli import command

if __name__ == "__main__":
    command()
