"""asi-evolve-mcp: the tools of an evolving research program, served over MCP."""
