"""Who may connect to a bridge, over what, and what they may publish and receive (reliability, "Authentication")."""
