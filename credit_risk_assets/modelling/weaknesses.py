"""What speaks against a version: every figure that does not hold, named, with what is not known at all."""

from __future__ import annotations

from collections.abc import Iterable

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.modelling.document_text import GROUPINGS, by_item, in_words, number
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.gate import Criterion, Evidence

SIGNIFICANT = 0.05
NAMED = 12
"""At most as many groups are named in one sentence; the tables show the rest."""
MODERATE_PSI = 0.10
"""The customary band from which on a shift is looked at; no test, so that the critical value counts too."""


def weaknesses(evidence: Evidence, criteria: Iterable[Criterion], settings: ModelSettings) -> list[str]:
    """One sentence for each thing about a version that a user has to know before relying on it."""
    return [
        *(
            f"The gate's criterion {c.name} fails: {c.observed}; expected {c.expected}."
            for c in criteria
            if not c.passed
        ),
        *_calibration_tests(evidence),
        *_segments(evidence),
        *_ranking(evidence, settings),
        *_ratings(evidence),
        *_stability(evidence),
        *_fairness(evidence),
        *_benchmarks(evidence),
        *_history(evidence),
    ]


def miscalibrated(figure: Figure) -> bool:
    """Whether the interval of a calibration gap (mean PD minus observed rate) leaves 0 out."""
    return figure.lower is not None and figure.upper is not None and not figure.lower <= 0 <= figure.upper


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _calibration_tests(evidence: Evidence) -> list[str]:
    found = []
    for test, name in (("hosmer_lemeshow", "Hosmer-Lemeshow"), ("spiegelhalter", "Spiegelhalter")):
        p_value = evidence.tested.get(f"{test}_p")
        if p_value is not None and p_value.value < SIGNIFICANT:
            found.append(
                f"The {name} test rejects calibration on the test loans (p = {p_value.value:.4f}). With many loans it "
                "finds errors too small to matter: judge it beside the calibration error and the ratings."
            )
    return found


def _segments(evidence: Evidence) -> list[str]:
    judged, outside, unranked = 0, [], []
    for subject in GROUPINGS:
        for item, found in by_item(evidence.of("segment", subject)).items():
            if not item or "calibration_gap" not in found:
                continue
            gap, judged = found["calibration_gap"], judged + 1
            name = f"{in_words(subject)} {in_words(item)}"
            if miscalibrated(gap):
                word = "overstated" if gap.value > 0 else "understated"
                rates = (
                    f"{number(found['mean_pd'].value, 'share')} against {number(found['observed_rate'].value, 'share')}"
                )
                outside.append(f"{name} ({word}: {rates})")
            if "auc" not in found:
                unranked.append(name)
    sentences = []
    if outside:
        sentences.append(
            f"Calibration does not hold in {len(outside)} of {judged} segments: the mean PD lies outside the 95 % "
            f"interval of the observed rate, as chance alone would have it in about {judged * SIGNIFICANT:.0f}: "
            f"{_listed(outside)}."
        )
    if unranked:
        sentences.append(f"Too few loans or defaults to say how well it ranks: {_listed(unranked)}.")
    return sentences


def _ranking(evidence: Evidence, settings: ModelSettings) -> list[str]:
    weak = [
        f"{in_words(figure.subject)} {in_words(figure.item)} ({figure.value:.3f})"
        for figure in evidence.of("segment", metric="auc")
        if figure.item and (figure.upper or figure.value) < settings.minimum_auc
    ]
    drop = evidence.metrics["train"]["auc"].value - evidence.tested["auc"].value if "train" in evidence.metrics else 0
    sentences = []
    if weak:
        sentences.append(
            f"Within these segments the AUC is below {settings.minimum_auc:.2f} beyond chance, so that the order of "
            f"loans there says little: {_listed(weak)}."
        )
    if drop > 0:
        sentences.append(
            f"In training the AUC is {drop:.4f} higher than on the test loans: figures of the training rows flatter."
        )
    return sentences


def _ratings(evidence: Evidence) -> list[str]:
    scale = by_item(evidence.of("rating", "master_scale"))
    outside = [name for name, found in scale.items() if name and "holds" in found and not found["holds"].value]
    empty = [name for name, found in scale.items() if name and "n" in found and not found["n"].value]
    sentences = []
    if outside:
        sentences.append(
            f"The mean PD lies outside the interval of the observed rate in the ratings {_listed(outside)}."
        )
    if empty:
        sentences.append(f"No test loan has the rating {_listed(empty)}.")
    if scale.get("", {}).get("monotone") and not scale[""]["monotone"].value:
        sentences.append("Observed default rates do not rise from rating to rating.")
    return sentences


def _stability(evidence: Evidence) -> list[str]:
    found = {figure.subject: figure for figure in evidence.of("stability", metric="psi")}
    critical = {figure.subject: figure.value for figure in evidence.of("stability", metric="psi_critical")}
    moved = [name for name, figure in found.items() if figure.value > critical.get(name, 0)]
    far = [f"{name} ({found[name].value:.3f})" for name in moved if found[name].value > MODERATE_PSI]
    if far:
        return [f"Between development and test these moved by more than {MODERATE_PSI:.2f} and chance: {_listed(far)}."]
    if moved:
        return [
            f"{len(moved)} of {len(found)} stability indices pass the critical value of their sample size, none passes "
            f"{MODERATE_PSI:.2f}: real shifts, and small ones."
        ]
    return []


def _fairness(evidence: Evidence) -> list[str]:
    def groups(metric: str, value: float) -> list[str]:
        found = evidence.of("fairness", metric=metric)
        return [f"{in_words(f.subject)} {in_words(f.item)}" for f in found if f.item and f.value == value]

    sentences = []
    if unexplained := groups("explained_by_risk", 0.0):
        sentences.append(f"The impact ratio is below four fifths and risk does not explain it: {_listed(unexplained)}.")
    if explained := groups("explained_by_risk", 1.0):
        sentences.append(
            f"The impact ratio is below four fifths where the group defaults more often: {_listed(explained)}. That is "
            "an explanation, and no acquittal."
        )
    if outside := groups("holds", 0.0):
        sentences.append(f"Within these protected groups calibration does not hold: {_listed(outside)}.")
    if small := groups("too_small", 1.0):
        sentences.append(f"Too small to judge fairness: {_listed(small)}.")
    if not evidence.of("fairness"):
        sentences.append("Fairness was not measured: the sample holds no protected attribute.")
    return sentences


def _benchmarks(evidence: Evidence) -> list[str]:
    sentences = []
    for name, said in (("logistic_regression", "a logistic regression"), ("scorecard", "the scorecard")):
        found = evidence.of("benchmark", name, "auc_change")
        if found and (found[0].upper or found[0].value) >= 0:
            sentences.append(
                f"The version does not rank better than {said} beyond chance (AUC {found[0].value:+.4f} for the "
                "simpler one): ask whether its complexity pays."
            )
    if not evidence.of("benchmark", metric="auc_change"):
        sentences.append("No benchmark was trained beside this version.")
    return sentences


def _history(evidence: Evidence) -> list[str]:
    dates = sorted({figure.item for figure in evidence.of("segment", "observation_date", "n") if figure.item})
    sentences = [
        f"Development and test know {len(dates)} observation date{'s' if len(dates) != 1 else ''} "
        f"({', '.join(dates)}): no full economic cycle unless these span one. PDs are point-in-time and say nothing of "
        "a downturn that the sample has not seen.",
        "Only granted loans are known: applicants who were declined have no outcome, and the version may be wrong "
        "about people unlike those who were granted a loan.",
    ]
    if evidence.test_set != "out_of_time":
        sentences.insert(
            0, "There is one observation date: the test is of other customers, not of another time, and flatters."
        )
    return sentences
