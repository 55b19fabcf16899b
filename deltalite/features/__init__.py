"""The table features, in one ordered tuple, and the folds over them."""
