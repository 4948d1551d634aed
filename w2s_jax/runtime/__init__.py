"""What everything stands on: errors, files, downloads, processes, devices, checkpoints. Knows nothing of learning."""
