"""The tables of the model document, each made from the figures of a version's validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from credit_risk_assets.credit.features import BY_NAME, FEATURES
from credit_risk_assets.modelling.document_text import (
    BENCHMARK_NAMES,
    FAILS,
    GROUPINGS,
    METRICS,
    Format,
    by_item,
    change,
    in_words,
    number,
    plain,
    table,
    with_interval,
)
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.gate import ADVISORY, Criterion, Evidence, keeps_out
from credit_risk_assets.modelling.weaknesses import miscalibrated

PARAMETERS = {
    "max_depth": "greatest depth of a tree",
    "learning_rate": "learning rate",
    "n_estimators": "trees of a member at most",
    "early_stopping_rounds": "rounds without gain before it stops",
    "min_child_weight": "least weight of a leaf",
    "reg_lambda": "L2 penalty",
    "gamma": "least gain of a split",
    "subsample": "share of rows of a tree",
    "colsample_bytree": "share of features of a tree",
    "balance_classes": "classes weighted alike in training",
    "monotone": "monotone constraints",
    "calibration": "calibration",
    "cost_lgd": "cost of a granted default, share of the amount",
    "cost_margin": "cost of a declined good loan, share of the amount",
    "seed": "seed",
    "features": "features read",
    "trees": "trees after merging",
}
DIRECTIONS = {1: "raises risk", -1: "lowers risk", 0: "either"}
STRONGEST = 15
MOVED = 12
LEAST_POINTS = 0.05
"""A scorecard feature whose bins differ by less tells no loans apart."""


def verdict(passed: bool) -> str:
    """How a table says whether something holds."""
    return "holds" if passed else FAILS


def sample_table(evidence: Evidence) -> str:
    """Loans of each observation date: on the tape, left out and why, used for what."""
    header = ("observed", "serves as", "on the tape", "paid off", "in default already", "no outcome", "not drawn",
              "in the sample",
              "customers", "defaults", "default rate")  # fmt: skip
    rows = []
    for figure in evidence.of("sample", metric="n"):
        of = {f.metric: f for f in evidence.of("sample", figure.subject) if f.item == figure.item}
        counts = ("tape_loans", "closed", "in_default", "without_outcome", "not_drawn", "n", "customers", "defaults")
        left = [number(of[name].value, "count") if name in of else "" for name in counts]
        rate = number(of["defaults"].value / figure.value, "share") if figure.value else ""
        rows.append((figure.subject, in_words(figure.item), *left, rate))
    return table(header, rows)


def parts_table(parameters: Mapping[str, str]) -> str:
    """Rows that each part of the first member's training used."""
    names = ("train", "early_stopping", "calibration", "out_of_time", "out_of_sample")
    rows = [(in_words(n), f"{int(parameters[f'rows_{n}']):,}") for n in names if f"rows_{n}" in parameters]
    return table(("part", "loans"), rows)


def parameters_table(parameters: Mapping[str, str]) -> str:
    """The settings that the version was trained with."""
    rows = [(said, f"`{name}`", plain(parameters[name])) for name, said in PARAMETERS.items() if name in parameters]
    return table(("parameter", "setting", "value"), rows)


def used_features(evidence: Evidence) -> list[str]:
    """The features that the version reads, the strongest first."""
    found = evidence.of("importance", metric="mean_absolute_shap")
    return [figure.subject for figure in sorted(found, key=lambda figure: figure.position or 0)]


def families_table(evidence: Evidence) -> str:
    """How many features of each family the version reads, and how many are kept from it."""
    used = set(used_features(evidence))
    rows = []
    for family in dict.fromkeys(feature.family for feature in FEATURES):
        mine = [feature for feature in FEATURES if feature.family == family]
        read = [feature for feature in mine if feature.name in used]
        counts = (
            len(read),
            sum(feature.direction == 1 for feature in read),
            sum(feature.direction == -1 for feature in read),
            sum(feature.protected for feature in mine),
            sum(not feature.protected and feature.name not in used for feature in mine),
        )
        rows.append((family, *map(str, counts)))
    totals = [str(sum(int(row[place]) for row in rows)) for place in range(1, 6)]
    header = ("family", "read", "of which raise risk", "lower risk", "protected, kept out", "not read")
    return table(header, [*rows, ("all", *totals)])


def performance_table(evidence: Evidence) -> str:
    """Every metric on the test, on the rows left to calibration, and in training."""
    others = [name for name in ("calibration", "train") if name in evidence.metrics]
    rows = []
    for name, (said, kind) in METRICS.items():
        if name in evidence.tested:
            values = [evidence.tested[name], *(evidence.metrics[data_set].get(name) for data_set in others)]
            rows.append((said, *(with_interval(value, kind) for value in values)))
    return table(("metric", in_words(evidence.test_set), *(in_words(name) for name in others)), rows)


def thresholds_table(evidence: Evidence) -> str:
    """What declining at the threshold of least cost, and at a recall of 0.70, does to the test loans."""
    tested = evidence.tested
    pairs: list[tuple[str, str, str, Format]] = [
        ("declined from this PD on", "threshold", "threshold_at_recall_70", "share"),
        ("accuracy", "accuracy", "accuracy_at_recall_70", "share"),
        ("precision", "precision", "precision_at_recall_70", "share"),
        ("recall", "recall", "", "share"),
        ("specificity", "specificity", "", "share"),
        ("F1", "f1", "", "number"),
        ("share of loans declined", "predicted_bad_share", "", "share"),
        ("defaults declined", "true_positives", "", "count"),
        ("good loans declined", "false_positives", "", "count"),
        ("good loans granted", "true_negatives", "", "count"),
        ("defaults granted", "false_negatives", "", "count"),
    ]
    rows = []
    for said, first, second, kind in pairs:
        # the threshold was chosen beforehand: it has no interval
        cells = [with_interval(tested.get(name), kind) if name else "" for name in (first, second)]
        if said == "recall":
            cells[1] = number(0.7, "share")
        if any(cells):
            rows.append((said, *cells))
    return table(("", "threshold of least expected cost", "recall 0.70"), rows)


def benchmarks_table(evidence: Evidence) -> str:
    """Simpler models and variants of the version on the same test loans."""
    rows = []
    for name, said in BENCHMARK_NAMES.items():
        of = {figure.metric: figure for figure in evidence.of("benchmark", name)}
        if of:
            measured = [number(of[metric].value) if metric in of else "" for metric in ("ks", "brier", "ece")]
            cost = number(of["expected_cost"].value, "share") if "expected_cost" in of else ""
            features = number(of["features"].value, "count") if "features" in of else ""
            rows.append((said, features, with_interval(of.get("auc")), change(of.get("auc_change")), *measured, cost))
    header = ("model", "features", "AUC", "AUC beside its reference", "KS", "Brier score", "calibration error", "cost")
    return table(header, rows)


def ratings_table(evidence: Evidence) -> str:
    """The master scale on the test loans."""
    rows = []
    for name, of in by_item(evidence.of("rating", "master_scale")).items():
        if not name or "pd_from" not in of:
            continue
        bounds = f"{number(of['pd_from'].value, 'share')} to {number(of['pd_below'].value, 'share')}"
        counts = [number(of["n"].value, "count"), number(of["share"].value, "share")]
        if "observed_rate" in of:
            p_value = f"{of['above_previous_p'].value:.2g}" if "above_previous_p" in of else ""
            measured = [
                number(of["defaults"].value, "count"),
                number(of["mean_pd"].value, "share"),
                with_interval(of["observed_rate"], "share"),
                verdict(bool(of["holds"].value)),
                p_value,
            ]
        else:
            measured = ["", "", "", "", ""]
        rows.append((name, bounds, *counts, *measured))
    header = (
        "rating",
        "PD",
        "loans",
        "share",
        "defaults",
        "mean PD",
        "observed",
        "calibration",
        "p above the one before",
    )
    return table(header, rows)


def segments_table(evidence: Evidence, subject: str) -> str:
    """Ranking and calibration in each group of one dimension."""
    rows = []
    for name, of in by_item(evidence.of("segment", subject)).items():
        if name and "mean_pd" in of:
            gap = of["calibration_gap"]
            word = (
                verdict(True) if not miscalibrated(gap) else f"{FAILS} ({'over' if gap.value > 0 else 'under'}stated)"
            )
            rows.append((plain(in_words(name)), number(of["n"].value, "count"), number(of["defaults"].value, "count"),
                         number(of["mean_pd"].value, "share"), with_interval(of["observed_rate"], "share"), word,
                         with_interval(of.get("auc"))))  # fmt: skip
    return table((in_words(subject), "loans", "defaults", "mean PD", "observed", "calibration", "AUC"), rows)


def segments(evidence: Evidence) -> str:
    """The table of every dimension that was measured."""
    found = [segments_table(evidence, subject) for subject in GROUPINGS if evidence.of("segment", subject)]
    return "\n\n".join(found) or "Not measured for this version."


def stability_table(evidence: Evidence) -> str:
    """Stability of the score, of the ratings, and of the features that moved most."""
    found = {figure.subject: figure for figure in evidence.of("stability", metric="psi")}
    names: list[str] = [name for name in ("score_points", "risk_rating") if name in found]
    names += sorted((name for name in found if name not in names), key=lambda name: -found[name].value)[:MOVED]
    rows = []
    for name in names:
        of = {f.metric: f.value for f in evidence.of("stability", name) if not f.item}
        critical = of.get("psi_critical", float("nan"))
        word = "beyond chance" if of["psi"] > critical else "within chance"
        rows.append((name, f"{of['psi']:.4f}", f"{critical:.4f}", f"{of.get('bins', 0):.0f}", word))
    return table(("what", "PSI", "critical value", "bins", "verdict"), rows)


def importance_table(evidence: Evidence) -> str:
    """The features that move the PD most."""
    gains = {figure.subject: figure.value for figure in evidence.of("importance", metric="gain_share")}
    shap = sorted(evidence.of("importance", metric="mean_absolute_shap"), key=lambda figure: figure.position or 0)
    rows = [
        (f"{rank}", figure.subject, f"{figure.value:.4f}", number(gains.get(figure.subject, 0.0), "share"),
         DIRECTIONS[BY_NAME[figure.subject].direction] if figure.subject in BY_NAME else "")
        for rank, figure in enumerate(shap[:STRONGEST], 1)
    ]  # fmt: skip
    return table(("rank", "feature", "mean absolute SHAP", "share of gain", "expected direction"), rows)


def fairness_table(evidence: Evidence, attribute: str) -> str:
    """Decisions and calibration in each group of one protected attribute."""
    rows = []
    for name, of in by_item(evidence.of("fairness", attribute)).items():
        if not name or "n" not in of:
            continue
        loans = number(of["n"].value, "count")
        if "approval_rate" not in of:
            rows.append((plain(in_words(name)), loans, *[""] * 5, "too small to judge"))
            continue
        said = []
        if "explained_by_risk" in of:
            said.append("below four fifths, explained by risk" if of["explained_by_risk"].value else
                        f"{FAILS}: below four fifths")  # fmt: skip
        if "holds" in of and not of["holds"].value:
            said.append(f"calibration {FAILS}")
        if "is_reference" in of and of["is_reference"].value:
            said.append("reference")
        ratio = with_interval(of.get("adverse_impact_ratio"))
        base = number(of["base_rate_ratio"].value) if "base_rate_ratio" in of else ""
        rates = f"{number(of['mean_pd'].value, 'share')} / {number(of['observed_rate'].value, 'share')}"
        rows.append((plain(in_words(name)), loans, number(of["approval_rate"].value, "share"), ratio, base,
                     change(of.get("equal_opportunity_difference")), rates, ", ".join(said) or "holds"))  # fmt: skip
    header = (in_words(attribute), "loans", "approved", "impact ratio", "default rate ratio",
              "equal opportunity difference", "mean PD / observed", "verdict")  # fmt: skip
    return table(header, rows)


def fairness(evidence: Evidence) -> str:
    """The table of every protected attribute that was measured."""
    subjects = dict.fromkeys(figure.subject for figure in evidence.of("fairness"))
    return "\n\n".join(fairness_table(evidence, name) for name in subjects) or "Not measured for this version."


def gate_table(criteria: Iterable[Criterion], *, champion_reigns: bool) -> str:
    """Every criterion of the gate with what was observed and whether it keeps the version out."""
    rows = []
    for criterion in criteria:
        if criterion.passed:
            effect = ""
        elif keeps_out(criterion, champion_reigns=champion_reigns):
            effect = "keeps the version out"
        else:
            effect = "advice" if criterion.name in ADVISORY else "tolerated: no champion reigned"
        rows.append((f"`{criterion.name}`", plain(criterion.observed), plain(criterion.expected),
                     verdict(criterion.passed), effect))  # fmt: skip
    return table(("criterion", "observed", "expected", "verdict", "effect"), rows)


def champion_table(evidence: Evidence) -> str:
    """The version beside the champion in force when it was trained, on the same test loans."""
    rows = []
    for figure in evidence.of("champion"):
        if figure.metric in METRICS:
            said, kind = METRICS[figure.metric]
            rows.append((said, with_interval(evidence.tested.get(figure.metric), kind), with_interval(figure, kind)))
        elif figure.metric == "auc_difference":
            rows.append(("AUC, this version minus champion", change(figure), ""))
    return table(("metric", "this version", f"champion, version {evidence.champion}"), rows)


def weightless(evidence: Evidence) -> list[str]:
    """Features that the scorecard holds and gives no weight."""
    found: dict[str, list[float]] = {}
    for figure in evidence.of("scorecard", metric="points"):
        found.setdefault(figure.subject, []).append(figure.value)
    return [name for name, points in found.items() if max(points) - min(points) < LEAST_POINTS]


def figures_of(found: Iterable[Figure], metric: str) -> Figure | None:
    """The figure with a metric, None where it was not measured."""
    return next((figure for figure in found if figure.metric == metric), None)
