"""The seven questions: their claims, tested on stored runs, and the verdicts."""

from pipeline.answers.answer import Answer, CellResult, Finding, answer
from pipeline.answers.claims import label
from pipeline.answers.picture import picture
from pipeline.answers.questions import QUESTIONS
from pipeline.answers.verdict import RULES

__all__ = ["QUESTIONS", "RULES", "Answer", "CellResult", "Finding", "answer", "label", "picture"]
