"""The demo: a scripted Researcher and Analyzer against the real server, daemon, sandbox and evaluator."""
