"""What a cell shows without a script: source, comparisons, recordings, translations."""
