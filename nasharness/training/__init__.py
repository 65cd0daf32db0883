"""Training on images and text: devices, checkpoints, batches, recipes, loops, full retraining."""
