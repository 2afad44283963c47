"""The process: command line, settings, MCP application, transports, demo and doctor."""
