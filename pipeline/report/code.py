"""The lines of code that give a model of the user's own the init that was found."""

from collections.abc import Mapping
from typing import Any

from pipeline.init import BIASES, WEIGHTS

__all__ = ["code_of"]

# PyTorch's own functions; ``{scale}`` is the multiplier of the scheme's standard deviation.
TORCH = {
    "glorot_normal": "nn.init.xavier_normal_({w}, gain={scale})",
    "glorot_uniform": "nn.init.xavier_uniform_({w}, gain={scale})",
    "orthogonal": "nn.init.orthogonal_({w}, gain={scale})",
    "he_normal": "nn.init.kaiming_normal_({w}, nonlinearity='relu').mul_({scale})",
    "he_uniform": "nn.init.kaiming_uniform_({w}, nonlinearity='relu').mul_({scale})",
    "lecun_normal": "nn.init.kaiming_normal_({w}, nonlinearity='linear').mul_({scale})",
    "lecun_uniform": "nn.init.kaiming_uniform_({w}, nonlinearity='linear').mul_({scale})",
    "zeros": "nn.init.zeros_({w})",
}
TORCH_BIAS = {
    "zeros": "nn.init.zeros_({b})",
    "constant": "nn.init.constant_({b}, {value})",
    "normal": "nn.init.normal_({b}, std={value})",
    "uniform": "nn.init.uniform_({b}, -{value}, {value})",
}
LOOP = """import torch
from torch import nn

with torch.no_grad():
    for m in model.modules():
        if isinstance(m, (nn.Linear, nn.Conv2d)):
            {weight}
            {bias}
"""
LAB = """from pipeline.init import InitSpec, initial_parameters

{fit}spec = InitSpec({spec})
model.load_state_dict(initial_parameters(model, spec, seed=0{data}), strict=False)
"""
FIT = """from pipeline.init import FitData

data = FitData.of(x_train, y_train, n_classes)
"""


def code_of(config: Mapping[str, Any]) -> dict[str, str]:
    """``{what it needs: code}`` for the init of a resolved configuration.

    With PyTorch alone where its functions can do it; with the lab always, which draws the very
    numbers of the study.
    """
    weight, bias = config["weight_init"], config["bias_init"]
    places = {
        f"{kind}_layers": {role: (own["name"], own[number]) for role, own in section["layers"].items() if own}
        for kind, section, number in (("weight", weight, "scale"), ("bias", bias, "value"))
    }
    found = {}
    if weight["name"] in TORCH and bias["name"] in TORCH_BIAS and not any(places.values()):
        value = bias["value"] if bias["name"] == "constant" else abs(bias["value"])
        found["with PyTorch alone"] = LOOP.format(
            weight=TORCH[weight["name"]].format(w="m.weight", scale=_number(weight["scale"])),
            bias="if m.bias is not None:\n                "
            + TORCH_BIAS[bias["name"]].format(b="m.bias", value=_number(value)),
        )
    given = [f"{weight['name']!r}, scale={weight['scale']!r}", f"bias={bias['name']!r}, value={bias['value']!r}"]
    given += [f"{name}={layers!r}" for name, layers in places.items() if layers]
    used = {weight["name"], *(name for name, _ in places["weight_layers"].values())}
    used_biases = {bias["name"], *(name for name, _ in places["bias_layers"].values())}
    fitted = any(WEIGHTS[name].fitted for name in used) or any(BIASES[name].fitted for name in used_biases)
    found["with initlab, to the same numbers"] = LAB.format(
        spec=", ".join(given), data=", data=data" if fitted else "", fit=FIT if fitted else ""
    )
    return found


def _number(value: float) -> str:
    return f"{value:.4g}"
