"""The engine, from a net to the gradient at any map; docs/architecture.md says in which order to read it."""
