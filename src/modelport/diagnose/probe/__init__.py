"""Which single change explains the gap, and which preprocessing an unknown model was trained with."""
