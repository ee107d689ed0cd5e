"""modelport carries a trained vision model to the device it will run on, and proves that it arrived intact."""

from modelport.engines.privacy import keep_silent

__version__ = "0.1.0"

keep_silent()
