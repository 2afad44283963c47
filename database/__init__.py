"""Everything durable: schema, stores, search, artifacts. Nothing outside this room writes SQL."""
