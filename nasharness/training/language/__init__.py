"""Language models trained in full: text, model, recipes, the run, exact perplexity, export."""
