"""The small language model that every mixer is judged in, and how a candidate's file becomes one."""
