"""report.html: one self-contained page, drawn from result folders alone."""
