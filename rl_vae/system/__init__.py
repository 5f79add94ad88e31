"""Files, folders, locks, processes and signals, which all other packages use."""
