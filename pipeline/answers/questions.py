"""The seven questions, each with its claims. Their studies are ``conf/experiment/q1.yaml`` and so on.

What counts as a difference is fixed here, before anything is measured: 0.02 of accuracy
between ways to start, 0.1 of accuracy above guessing, a tenth of a
share otherwise; a third of a neuron of 64 where the question is of single neurons.
"""

from pipeline.answers.claims import ACCURACY, BROKEN, LEARNS, Claim, Question

__all__ = ["QUESTIONS"]

BETTER = 0.02
SHARE = 0.1
SINGLE = 0.005
MOST = 0.5

WIDTH = "redundancy/effective_width"
FUNCTIONAL = "redundancy/functional_width"
RANK = "redundancy/effective_rank"
FLAT = "init/saturation/flat_fraction"
LINEAR = "init/saturation/linear_fraction"


def _helps(arm: str, words: str) -> Claim:
    return Claim(f"{words} help.", ACCURACY, arm, "zero", "more", BETTER)


def _stay(text: str, arm: str) -> Claim:
    return Claim(text, WIDTH, arm, arm, "same", SHARE, b_metric="init/" + WIDTH)


def _harms(arm: str, words: str) -> Claim:
    return Claim(f"{words} do harm.", ACCURACY, "zero", arm, "more", BETTER)


_ALL = (
    Question(
        "q1",
        "Why may weights not start at zero, when biases may?",
        (ACCURACY, WIDTH),
        (
            Claim("Zero weights cost accuracy.", ACCURACY, "random weights", "zero weights", "more", BETTER),
            Claim(
                "With zero weights and biases the hidden neurons are still copies after training.",
                WIDTH,
                "zero weights",
                "zero weights",
                "same",
                SHARE,
                b_metric="init/" + WIDTH,
            ),
            Claim(
                "Zero biases do as well as random ones when the weights are random.",
                ACCURACY,
                "random weights",
                "random weights and biases",
                "same",
                BETTER,
            ),
        ),
        "zero weights",
    ),
    Question(
        "q2",
        "Why not the opposite: random biases and zero weights?",
        (ACCURACY, WIDTH, RANK),
        (
            Claim("Random biases break the tie between neurons.", WIDTH, "random biases", "all zero", "more", SHARE),
            Claim(
                "A network with zero weights and random biases learns: it does better than guessing.",
                ACCURACY,
                "random biases",
                None,
                "more",
                LEARNS,
            ),
            Claim("It does as well as random weights.", ACCURACY, "random biases", "random weights", "same", BETTER),
            Claim(
                "Its weights end at a lower effective rank than random ones.",
                RANK,
                "random weights",
                "random biases",
                "more",
                SHARE,
            ),
        ),
        "random biases",
    ),
    Question(
        "q3",
        "Is the symmetry between the rows of one matrix?",
        (ACCURACY, WIDTH, FUNCTIONAL),
        (
            _stay("Neurons with equal rows alone stay copies.", "equal rows"),
            Claim(
                "Neurons with equal outgoing columns alone become copies, most of them.",
                "init/" + WIDTH,
                "equal columns",
                "equal columns",
                "more",
                MOST,
                b_metric=WIDTH,
            ),
            _stay("Neurons in which both agree stay copies.", "both equal"),
            Claim("Equal rows alone cost accuracy.", ACCURACY, "all distinct", "equal rows", "more", BETTER),
            Claim("Equal columns alone cost accuracy.", ACCURACY, "all distinct", "equal columns", "more", BETTER),
            Claim("Both together cost accuracy.", ACCURACY, "all distinct", "both equal", "more", BETTER),
        ),
        "both equal",
    ),
    Question(
        "q4",
        "Does equality between columns disturb training, in the first layer and in later ones?",
        (ACCURACY, RANK),
        (
            Claim(
                "Equal columns of the first matrix cost accuracy.",
                ACCURACY,
                "all distinct",
                "equal in the first",
                "more",
                BETTER,
            ),
            Claim(
                "Equal columns of later matrices cost accuracy.",
                ACCURACY,
                "all distinct",
                "equal in later ones",
                "more",
                BETTER,
            ),
            Claim(
                "Equal columns of the first matrix are still seen in the rank after training.",
                RANK,
                "all distinct",
                "equal in the first",
                "more",
                SHARE,
            ),
            Claim(
                "Equal columns of later matrices are still seen in the rank after training.",
                RANK,
                "all distinct",
                "equal in later ones",
                "more",
                SHARE,
            ),
        ),
        "equal in the first",
    ),
    Question(
        "q5",
        "Too big saturates, too small does not learn: where is the region between?",
        (ACCURACY, FLAT, LINEAR),
        (
            Claim("Scale 10 starts more saturated than scale 1.", FLAT, "10.0", "1.0", "more", SHARE, noun="scale "),
            Claim("Scale 10 costs accuracy.", ACCURACY, "1.0", "10.0", "more", BETTER, noun="scale "),
            Claim("Scale 0.01 starts more linear than scale 1.", LINEAR, "0.01", "1.0", "more", SHARE, noun="scale "),
            Claim("Scale 0.01 costs accuracy.", ACCURACY, "1.0", "0.01", "more", BETTER, noun="scale "),
        ),
        "1.0",
        "range",
        "weight_init.scale",
    ),
    Question(
        "q6",
        "Identical weights: how many distinct neurons are left, and what broke the tie?",
        (ACCURACY, "init/" + WIDTH, WIDTH, BROKEN),
        (
            Claim(
                "The data alone make the neurons distinct.",
                WIDTH,
                "identical",
                "identical",
                "more",
                SHARE,
                b_metric="init/" + WIDTH,
            ),
            Claim(
                "Round-off in float32 sets single neurons apart.",
                WIDTH,
                "identical",
                "identical",
                "more",
                SINGLE,
                b_metric="init/" + WIDTH,
            ),
            Claim(
                "Round-off in float64 sets single neurons apart.",
                WIDTH,
                "identical, float64",
                "identical, float64",
                "more",
                SINGLE,
                b_metric="init/" + WIDTH,
            ),
            Claim("Dropout makes the neurons distinct.", WIDTH, "identical, dropout", "identical", "more", SHARE),
            Claim("Dropout brings accuracy.", ACCURACY, "identical, dropout", "identical", "more", BETTER),
            Claim(
                "Random biases make the neurons distinct.",
                WIDTH,
                "identical, random biases",
                "identical",
                "more",
                SHARE,
            ),
            Claim("Random biases bring accuracy.", ACCURACY, "identical, random biases", "identical", "more", BETTER),
        ),
        "identical",
    ),
    Question(
        "q7",
        "With random weights, does a bias at the start help at all? Which value, if any?",
        (ACCURACY, FLAT),
        (
            _helps("constant 0.1", "Biases of 0.1"),
            _helps("constant 1", "Biases of 1"),
            _helps("constant -1", "Biases of -1"),
            _helps("normal 0.1", "Biases from N(0, 0.1²)"),
            _helps("pytorch", "PyTorch's default biases"),
            _helps("data_centred", "Biases that centre each unit on the data"),
            _harms("constant 1", "Biases of 1"),
            _harms("constant -1", "Biases of -1"),
        ),
        "zero",
        "best",
    ),
)

QUESTIONS = {question.name: question for question in _ALL}
