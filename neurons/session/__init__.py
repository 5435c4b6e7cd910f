"""What every neuron opens and reads: chain, stores, beacons, windows."""
