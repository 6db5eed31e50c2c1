"""What a person is told: in two languages, and in columns. It imports nothing of ours."""
