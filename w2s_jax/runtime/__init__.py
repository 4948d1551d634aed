"""What everything else builds on: errors, files, downloads, processes, devices, checkpoints. Nothing of learning."""
