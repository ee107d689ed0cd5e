"""What every floor may use: errors, values, artifacts."""
