"""The extension of this site, and what it makes from the code."""
