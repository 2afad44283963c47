"""Problems to evolve programs for: the contract a domain folder keeps, its loader, and the built-in domains."""
