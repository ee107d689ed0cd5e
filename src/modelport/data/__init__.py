"""The data's road: data sets, exact preprocessing, batches."""
