"""What both daemons are made of: one process an instance, the store that the settings name, the fleet's memory."""
