"""The command line, and what each command does and prints. Nothing here is needed by a neuron."""
