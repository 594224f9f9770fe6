"""The answer to a question: every claim in every cell, its verdict, and sentences made of the numbers."""

from dataclasses import dataclass

from pipeline.answers.claims import Claim, Question
from pipeline.answers.measured import Measured
from pipeline.answers.questions import QUESTIONS
from pipeline.answers.sentences import claim_sentence, short_sentences
from pipeline.answers.verdict import Cell, Judgement, Outcome, judge, outcome_of, where
from pipeline.statistics import Comparison, holm
from pipeline.tracking import StudyRuns

__all__ = ["Answer", "CellResult", "Finding", "answer"]


@dataclass(frozen=True)
class CellResult:
    """A claim in one cell: the comparison, its p after Holm's correction, and what that says."""

    cell: Cell
    comparison: Comparison
    p: float
    outcome: Outcome


@dataclass(frozen=True)
class Finding:
    """A claim, what each cell says of it, the verdict, and a sentence with the numbers."""

    claim: Claim
    results: list[CellResult]
    verdict: str
    sentence: str


@dataclass(frozen=True)
class Answer:
    """All that pages print of a question.

    Attributes:
        study: name of the study that was read. dataset: its data.
        seeds: replicates of each trial. epochs: of each training.
        short: a few sentences of numbers.
    """

    question: Question
    study: str
    dataset: str
    seeds: int
    epochs: int
    measured: Measured
    findings: list[Finding]
    short: list[str]


def answer(runs: StudyRuns) -> Answer | None:
    """Computes the answer from a study's stored runs.

    None if it answers no question, has no runs yet, or searched over other axes than the question's arms.
    """
    if runs.question not in QUESTIONS or runs.trials.empty:
        return None
    question = QUESTIONS[runs.question]
    if question.arms not in runs.axes:
        return None
    measured = Measured.of(question, runs)
    params = runs.parent.data.params
    return Answer(
        question=question,
        study=runs.study,
        dataset=params["dataset"],
        seeds=runs.replicates,
        epochs=int(params["trainer.epochs"]),
        measured=measured,
        findings=_findings(question, measured),
        short=short_sentences(question, measured),
    )


def _findings(question: Question, measured: Measured) -> list[Finding]:
    claims = [claim for claim in question.claims if measured.has(claim)]
    idle = {claim: [cell for cell in measured.cells if measured.idle(cell, claim)] for claim in claims}
    compared = [
        (claim, cell, measured.compare(cell, claim))
        for claim in claims
        for cell in measured.cells
        if cell not in idle[claim]
    ]
    adjusted = holm([comparison.p for _, _, comparison in compared])
    findings = []
    for claim in claims:
        results = [
            CellResult(cell, comparison, p, outcome_of(claim, comparison, p))
            for (of, cell, comparison), p in zip(compared, adjusted, strict=True)
            if of is claim
        ]
        findings.append(_finding(claim, results, idle[claim], measured.cells))
    return findings


def _finding(claim: Claim, results: list[CellResult], idle: list[Cell], cells: list[Cell]) -> Finding:
    judgement: Judgement = judge({result.cell: result.outcome for result in results})
    differences = {result.cell: result.comparison.difference.mean for result in results}
    sentence, label = claim_sentence(claim, judgement, differences), judgement.label
    if idle:
        place = where(idle, cells)
        sentence += f" Left out, as nothing learns there: {place}."
        label += "; nothing learns " + ("anywhere" if place == "everywhere" else f"for {place}")
    return Finding(claim, results, label, sentence)
