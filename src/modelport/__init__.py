"""modelport carries a trained vision model to the device it will run on, and proves that it arrived intact."""

__version__ = "0.1.0"
