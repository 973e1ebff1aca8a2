"""`python -m credit_risk_assets` is the console script `credit-risk`."""

from credit_risk_assets.cli import main

if __name__ == "__main__":  # a second process imports it and must not run it
    main()
