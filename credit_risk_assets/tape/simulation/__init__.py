"""The pieces of the portfolio simulator: borrowers, the monthly chain, the truth, the tapes and the changes."""
