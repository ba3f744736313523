"""Studies: queues of training runs and evaluations that compare ways of training on the same data."""
