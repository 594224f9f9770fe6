"""Names: what users type never becomes a path as it stands; what they read is short."""

import hashlib
import os
import re
import secrets
import socket
from collections.abc import Mapping
from types import MappingProxyType

from pipeline.config import Config
from pipeline.init import BIASES, ROLES, WEIGHTS

__all__ = ["counted", "own_name", "run_title", "slug"]


def slug(name: str) -> str:
    """A file name for any text: itself if it is plain, else its plain part and a hash."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:80].strip("-")
    if safe == name:
        return safe
    return f"{safe or 'study'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def own_name() -> str:
    """A name for a worker, which no other has: its host, its process, and chance."""
    return slug(f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}")


def counted(count: int, noun: str) -> str:
    """``1 trial``, ``2 trials``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def run_title(config: Config, swept: Mapping[str, object] = MappingProxyType({})) -> str:
    """``glorot_normal x1.2, bias 0.1``: what a run is, in the words of its init.

    Args:
        swept: the values of a study's axes; those that aren't of the init are added.
    """
    weight, bias = config.weight_init, config.bias_init
    strength = f" x{weight.scale:.4g}" if WEIGHTS[weight.name].scaled else ""
    kinds = {"zeros": "bias 0", "constant": f"bias {bias.value:.4g}"}
    spread = f" {bias.value:.4g}" if BIASES[bias.name].valued else ""
    places = [f"{w.name} {role}" for role in ROLES if (w := getattr(weight.layers, role)) is not None]
    places += [f"{b.name} bias {role}" for role in ROLES if (b := getattr(bias.layers, role)) is not None]
    own = f" ({', '.join(places)})" if places else ""
    others = [f"{key.split('.')[-1]} {value}" for key, value in swept.items() if "_init." not in key]
    init = f"{weight.name}{strength}, {kinds.get(bias.name, f'{bias.name} bias{spread}')}{own}"
    return "; ".join([init, *others])
