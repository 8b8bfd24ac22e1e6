"""Files and environment into checked values: settings of the daemons, `fleet.yaml`."""
