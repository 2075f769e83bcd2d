"""Reading what clemcore and clembench write."""
