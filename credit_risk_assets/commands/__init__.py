"""Commands of the console script, by what they are about."""
