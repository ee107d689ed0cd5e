"""From a weights file to a checked state dict."""
