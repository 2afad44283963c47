"""The trusted side: outputs read with distrust, audited, compared and drawn."""
