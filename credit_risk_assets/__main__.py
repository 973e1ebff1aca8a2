"""`python -m credit_risk_assets` is the console script `credit-risk`."""

from credit_risk_assets.cli import main

main()
