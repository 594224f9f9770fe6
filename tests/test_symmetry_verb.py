"""``initlab symmetry`` as it is typed."""

import json
import re

from pipeline.cli import main

QUICK_TIES = ["symmetry", "dataset=wine", "model.width=4", "trainer.epochs=3"]


def test_symmetry_as_a_table_and_as_json(home, capsys):
    assert main([*QUICK_TIES, "weight_init.layers.first=row_tied"]) == 0
    text = capsys.readouterr().out
    assert "predicted functional width: 1\n" in text
    assert "from the output: 3\n" in text
    assert re.search(r"hidden layer +neurons +classes", text)
    assert re.search(r"exact +float64 +64 +3 +1 +never +1 ", text)
    assert "layer 1: 6 tied pairs told apart by the columns of layer 2 (structural), the first at step 1" in text
    assert main([*QUICK_TIES, "weight_init=tied", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["predicted_width"] == 0.25
    assert [layer["classes"] for layer in found["layers"]] == [[0, 0, 0, 0]] * 2
    assert [layer["lasting"] for layer in found["layers"]] == [6, 6]
    assert len(found["arms"]) == 8
    assert found["causes"][0].startswith("12 tied pairs that exact arithmetic keeps for ever")


def test_symmetry_says_which_arm_diverged(home, capsys):
    diverging = ["optimizer.lr=1e30", "model.activation=relu", "weight_init=constant", "trainer.batch_size=16"]
    assert main([*QUICK_TIES, *diverging]) == 0
    text = capsys.readouterr().out
    assert "diverged at step" in text
    assert re.search(r"configured +float32 .* nan +nan +[23]\n", text)
    assert re.search(r"exact +float64 .* never\n", text)


def test_symmetry_under_dropout(home, capsys):
    assert main([*QUICK_TIES, "weight_init=tied", "model.dropout=0.3"]) == 0
    assert "by dropout (without it, float32: never)" in capsys.readouterr().out


def test_symmetry_of_other_networks_is_refused(home, monkeypatch, capsys):
    (home / "residual_network.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, input_shape, n_classes):\n"
        "        super().__init__()\n"
        "        self.a = torch.nn.Linear(input_shape[0], input_shape[0])\n"
        "        self.act = torch.nn.Tanh()\n"
        "        self.b = torch.nn.Linear(input_shape[0], n_classes)\n"
        "    def forward(self, x):\n"
        "        return self.b(x + self.act(self.a(x)))\n"
    )
    monkeypatch.syspath_prepend(home)
    assert (
        main(
            [
                "symmetry",
                "dataset=wine",
                "model=custom",
                "allow_custom_code=true",
                "model._target_=residual_network.Net",
            ]
        )
        == 2
    )
    assert "symmetry is settled for MLPs only" in capsys.readouterr().err
