"""What a study takes before it is run: the models' shapes, the work of each job, what to ask of a cluster for it."""
