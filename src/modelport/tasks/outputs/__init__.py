"""How near two models' outputs are, whatever they mean."""
