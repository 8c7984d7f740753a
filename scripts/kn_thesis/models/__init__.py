"""Models: training, loading, and one adapter per family."""
