"""Files, folders, locks, processes and signals: what every other package stands on."""
