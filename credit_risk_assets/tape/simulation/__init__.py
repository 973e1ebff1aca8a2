"""The pieces of the portfolio simulator: borrowers, monthly chain, truth, tapes and changes."""
