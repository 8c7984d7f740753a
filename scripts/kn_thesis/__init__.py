"""Methods of the knowledge-neuron study: plain functions on models, arrays and data frames."""
