"""What needs arrays and nets only."""
