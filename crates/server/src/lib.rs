//! Connections with message boundaries on any socket, and serving many of them.
