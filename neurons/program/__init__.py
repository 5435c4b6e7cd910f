"""The program around a neuron: loop, folder, database, status, logs, metrics."""
