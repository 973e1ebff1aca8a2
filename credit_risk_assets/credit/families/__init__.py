"""The features by family; `credit.features` puts them together."""
