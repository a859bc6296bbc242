"""Our nodes in the stock targetcli."""
