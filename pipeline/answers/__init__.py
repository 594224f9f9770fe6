"""The seven questions: claims, tested on stored runs, and verdicts; and how the verdict before training did."""

from pipeline.answers.answer import Answer, CellResult, Finding, answer
from pipeline.answers.claims import label
from pipeline.answers.picture import picture
from pipeline.answers.questions import QUESTIONS
from pipeline.answers.ranking import NAME as VERDICT
from pipeline.answers.ranking import Ranking, rank_verdicts
from pipeline.answers.verdict import RULES

__all__ = [
    "QUESTIONS",
    "RULES",
    "VERDICT",
    "Answer",
    "CellResult",
    "Finding",
    "Ranking",
    "answer",
    "label",
    "picture",
    "rank_verdicts",
]
