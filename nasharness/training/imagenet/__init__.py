"""Image classifiers trained in full: files, decoding, augmentation, recipes, step, loop, export, prediction."""
