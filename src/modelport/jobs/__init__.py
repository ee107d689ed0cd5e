"""Where the model's road and the data's road meet."""
