"""Plan a study before it runs: the models' shapes, the work of each job, and its request to a cluster."""
