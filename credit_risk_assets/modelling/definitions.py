"""What each analysis of a validation shows and what each of its metrics means, for pages and documents."""

from __future__ import annotations

SECTIONS: dict[str, tuple[str, str]] = {
    "segment": (
        "Performance by segment",
        "The model on rows that decided nothing, for all loans and for each purpose, score band, rule-based risk "
        "category, bucket of days past due, year of origination (the vintage) and observation date; older dates as "
        "predicted by the member of the model that had left the row out.",
    ),
    "rating": (
        "Master scale",
        "Five grades by probability of default. A grade holds where its mean PD lies inside the 95 % Jeffreys interval "
        "of its observed default rate; observed rates must rise strictly from grade to grade.",
    ),
    "curve": ("Curves", "ROC, KS, precision and recall, gain, lift and calibration on the test rows."),
    "stability": (
        "Stability",
        "Population stability index of the score and of each feature, development against test. It is set "
        "beside the value that chance passes in 5 % of cases for these sample sizes, not the customary 0.10 and 0.25 "
        "alone.",
    ),
    "fairness": (
        "Fairness",
        "Approvals, chances of good loans, calibration and ranking by age band, family size, education and region. "
        "A ratio below 0.80 calls for a closer look (four-fifths rule, 29 CFR 1607.4(D)); the ratio of observed "
        "default rates stands beside it, because a model that ranks risk well approves riskier groups less often.",
    ),
    "benchmark": (
        "Benchmarks and restrictions",
        "Logistic regression and a scorecard on the same rows, and what the model's own restrictions cost: the "
        "monotone constraints, and leaving the protected attributes out. Restrictions are priced "
        "between two trainings of one member each that differ in nothing else.",
    ),
    "scorecard": (
        "Points of the benchmark scorecard",
        "600 points at 30 good to 1 bad, 20 points double the odds; a loan's score is the sum of its bins' points.",
    ),
    "importance": (
        "Importance",
        "How much each feature moves the log-odds of a loan on average, by exact SHAP values on a sample of all loans "
        "and by the approximate contributions that reason codes use within segments.",
    ),
    "dependence": (
        "Partial dependence",
        "The mean PD of sampled loans where one feature alone is set to each place on its axis.",
    ),
    "canary": (
        "Leak canaries",
        "The training must learn nothing from permuted labels, and the leak guard must find a planted column that "
        "restates the outcome.",
    ),
}
"""Title and text of each analysis, in the order of a document."""

METRICS: dict[str, str] = {
    "n": "loans",
    "defaults": "loans that defaulted within twelve months",
    "observed_rate": "defaults over loans, with its Jeffreys interval",
    "mean_pd": "mean predicted probability of default",
    "brier": "mean squared distance of the PD to the outcome",
    "calibration_gap": "mean PD minus observed rate",
    "pd_to_observed": "mean PD over observed rate",
    "auc": "chance that a bad loan has a higher PD than a good one, with DeLong's interval",
    "pd_from": "PD from which on the grade begins",
    "pd_below": "PD below which the grade ends",
    "share": "share of all loans",
    "holds": "1 where the mean PD lies inside the interval of the observed rate",
    "above_previous_p": "p-value of Fisher's exact test that the grade defaults no more often than the better one",
    "monotone": "1 where observed rates rise strictly over the grades that hold loans",
    "grades_outside": "grades whose mean PD lies outside the interval",
    "concentration": "Herfindahl-Hirschman index: sum of the squared shares of loans",
    "true_positive_rate": "share of the bad loans above a PD, over that of the good ones",
    "cumulative_share": "share of the bad, or of the good, loans up to a score",
    "precision": "share of bad among the riskiest loans, over the share of bad loans among them",
    "capture": "share of all defaults among the riskiest share of loans",
    "lift": "default rate among the riskiest share of loans over that of all",
    "psi": "population stability index: sum of (a - b) ln(a / b) over the shares of the bins",
    "psi_critical": "the index that chance alone passes in 5 % of cases",
    "psi_expected": "mean of the index without drift: (B - 1)(1/N + 1/M)",
    "bins": "bins that hold rows",
    "drifted": "1 where the index passes its critical value",
    "development_share": "share of the development rows in the bin",
    "test_share": "share of the test rows in the bin",
    "too_small": "1 where the group is counted and not judged",
    "approval_rate": "share of loans whose PD lies below the model's threshold",
    "is_reference": "1 for the judged group with the highest approval rate",
    "adverse_impact_ratio": "approval rate over that of the group with the highest one",
    "adverse_impact_ratio_to_largest": "approval rate over that of the largest group",
    "base_rate_ratio": "observed default rate over that of the reference",
    "below_four_fifths": "1 where the adverse-impact ratio is below 0.80",
    "explained_by_risk": "1 where the group defaults more often than the reference and its PD is not overstated",
    "equal_opportunity": "share of the good loans that is approved",
    "equal_opportunity_difference": "that share minus the reference's",
    "auc_gap": "AUC of the group minus that of all other loans",
    "groups_judged": "groups that are large enough",
    "groups_too_small": "groups that are counted and not judged",
    "least_adverse_impact_ratio": "least adverse-impact ratio of the judged groups",
    "groups_below_four_fifths": "judged groups whose ratio is below 0.80",
    "groups_unexplained": "of those, groups whose ratio does not follow from risk",
    "largest_equal_opportunity_difference": "difference of the group farthest from the reference",
    "auc_range": "highest minus lowest AUC of the judged groups",
    "groups_outside": "judged groups whose mean PD lies outside the interval of their observed rate",
    "ks": "greatest distance between the cumulative shares of bad and good loans",
    "ece": "mean distance of PD and observed rate over ten bins of equal count",
    "expected_cost": "cost per loan as a share of the amount, declined from the cost-optimal PD on",
    "features": "features that the model reads",
    "auc_change": "AUC minus the reference's, with DeLong's paired interval",
    "ece_change": "expected calibration error minus the reference's",
    "expected_cost_change": "expected cost minus the reference's",
    "points": "points of the bin",
    "woe": "weight of evidence: ln of the share of good over the share of bad loans in the bin",
    "default_rate": "observed default rate of the bin",
    "mean_absolute_shap": "mean absolute exact SHAP value on the log-odds",
    "gain_share": "share in the gain of all splits of the trees",
    "mean_absolute_contribution": "mean absolute approximate contribution to the log-odds",
    "auc_distance_bound": "how far from 0.5 chance may take the AUC, once in a thousand trainings beyond",
    "passed": "1 where the AUC lies within the bound",
    "caught": "1 where the guard finds the planted column",
}
"""The meaning of each metric, wherever it occurs."""
