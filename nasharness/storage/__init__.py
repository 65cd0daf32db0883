"""Files: where data live, and how they are written."""
