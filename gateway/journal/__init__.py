"""What survives a gateway, in JetStream: the trades, the term and the lease."""
