"""The edge to MetaTrader 4: a wire that moves bytes, dialects that read them, and the line."""
