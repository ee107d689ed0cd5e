"""Where and why a port departs from its source: ``trace`` names the node, ``probe`` the setting."""
