"""Model hubs on this machine: real sockets, the hubs' own protocols, and faults on request."""
