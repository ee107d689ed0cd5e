"""Which planted faults a data set, an order and a tolerance would have noticed."""
