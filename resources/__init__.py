"""What an agent may read: MCP resources, prompts and completions."""
