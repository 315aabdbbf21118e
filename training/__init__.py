"""What makes a release: data, recipes, fitting, measuring, exporting and publishing."""
