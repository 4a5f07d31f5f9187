"""Where a run's engines are asked: this machine, or the servers of a Ray cluster."""
