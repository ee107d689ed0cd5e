"""Sample weights by task: what fits a random network to a drawn data set (`modelport samples weights`)."""
